//! A value with where it stands, and a table whose keys are read by name.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Context;
use crate::keys::{Absent, Key, Kind, Section};

/// A value, where it stands, and what it should be.
#[derive(Clone)]
pub(super) struct Value<'a> {
    pub(super) value: &'a DeValue<'a>,
    pub(super) span: Range<usize>,
    /// `templates.web.ready`
    pub(super) path: String,
    pub(super) kind: Kind,
    /// Whether it is what `kind` says, or one item or entry of that.
    part: Part,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Item,
}

impl<'a> Value<'a> {
    pub(super) fn document(value: &'a DeValue<'a>) -> Self {
        Self { value, span: 0..0, path: String::new(), kind: Kind::Free, part: Part::Whole }
    }

    /// Reports that this is not what was expected.
    pub(super) fn unexpected<T>(&self, cx: &mut Context<'_>) -> Option<T> {
        let item = self.kind.expected_item().filter(|_| self.part == Part::Item);
        let expected = item.map_or_else(|| self.kind.expected(), str::to_owned);
        let what = format!("expected {expected}, found {}", self.shown());
        let whole_example = self.kind.example().map(|toml| match item {
            Some(_) => format!("{} = {toml}", self.key()),
            None => toml,
        });
        let advice = match whole_example {
            Some(toml) => format!("Write it like `{toml}`"),
            None => "See `tidegate check --explain` for its keys".into(),
        };
        self.problem(cx, what, advice)
    }

    /// Reports a problem with this value.
    pub(super) fn problem<T>(
        &self,
        cx: &mut Context<'_>,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Option<T> {
        cx.report(&self.span, &self.path, what.into(), advice.into());
        None
    }

    fn shown(&self) -> String {
        match self.value {
            DeValue::String(text) if text.is_empty() => "empty text".into(),
            DeValue::String(text) => {
                let mut shown: String =
                    text.chars().take(60).flat_map(char::escape_debug).collect();
                if text.chars().nth(60).is_some() {
                    shown.push('…');
                }
                format!("\"{shown}\"")
            }
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(it) => it.to_string(),
            DeValue::Datetime(it) => format!("the date {it}"),
            DeValue::Array(items) if items.is_empty() => "an empty array".into(),
            DeValue::Array(_) => "an array".into(),
            DeValue::Table(_) => "a table".into(),
        }
    }

    /// A value within this one.
    fn within(&self, step: &str, value: &'a Spanned<DeValue<'a>>, kind: Kind) -> Self {
        let path =
            if self.path.is_empty() { step.to_owned() } else { format!("{}.{step}", self.path) };
        Self { value: value.get_ref(), span: value.span(), path, kind, part: Part::Whole }
    }

    /// The key whose item or entry this is.
    fn key(&self) -> &str {
        let path = match self.path.rsplit_once('[') {
            Some((array, _)) => array,
            None => self.path.rsplit_once('.').map_or("", |(table, _)| table),
        };
        path.rsplit('.').next().unwrap_or(path)
    }

    /// The items of an array, each expected to be what the array was.
    pub(super) fn items(&self, cx: &mut Context<'_>) -> Option<Vec<Self>> {
        let DeValue::Array(items) = self.value else { return self.unexpected(cx) };
        let item = |(i, value): (usize, &'a Spanned<DeValue<'a>>)| Self {
            value: value.get_ref(),
            span: value.span(),
            path: format!("{}[{i}]", self.path),
            kind: self.kind,
            part: Part::Item,
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// The entries of a table in the order of the file: name, where the name
    /// stands, value.
    pub(super) fn entries(
        &self,
        cx: &mut Context<'_>,
    ) -> Option<Vec<(String, Range<usize>, Self)>> {
        let DeValue::Table(table) = self.value else { return self.unexpected(cx) };
        let mut entries: Vec<_> = table
            .iter()
            .map(|(name, value)| {
                let step = name.get_ref();
                let entry = self.within(step, value, self.kind);
                (step.to_string(), name.span(), Self { part: Part::Item, ..entry })
            })
            .collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        Some(entries)
    }
}

/// A table whose keys stand in the table of [`keys`](crate::keys).
pub(super) struct Fields<'a> {
    pub(super) at: Value<'a>,
    table: Option<&'a DeTable<'a>>,
    section: &'static Section,
}

impl<'a> Fields<'a> {
    /// Reports unknown keys, and required ones that are missing.
    pub(super) fn open(
        value: &Value<'a>,
        section: &'static Section,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        let DeValue::Table(table) = value.value else {
            let at = Value { kind: Kind::Free, ..value.clone() };
            return at.problem(
                cx,
                format!("expected a table, found {}", at.shown()),
                "See `tidegate check --explain` for its keys",
            );
        };
        for (name, _) in table.iter().filter(|(name, _)| section.key(name.get_ref()).is_none()) {
            let path = value.within(name.get_ref(), &NOTHING, Kind::Free).path;
            cx.report(
                &name.span(),
                &path,
                "there is no such key".into(),
                section.suggest(name.get_ref()),
            );
        }
        let missing = section
            .keys
            .iter()
            .filter(|key| key.absent == Absent::Required && !table.contains_key(key.name));
        for key in missing {
            let example = key.kind.example().unwrap_or_else(|| "{ … }".into());
            let path = value.within(key.name, &NOTHING, Kind::Free).path;
            cx.report(
                &value.span,
                &path,
                format!("this key is missing; expected {}", key.kind.expected()),
                format!("Add it, like `{} = {example}`", key.name),
            );
        }
        Some(Self { at: value.clone(), table: Some(table), section })
    }

    /// A section within: as given, or all its defaults.
    pub(super) fn section(
        &self,
        name: &'static str,
        section: &'static Section,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        match self.find(name) {
            Some(value) => Self::open(&value, section, cx),
            None => {
                let path = self.at.within(name, &NOTHING, Kind::Free).path;
                Some(Self { at: Value { path, ..self.at.clone() }, table: None, section })
            }
        }
    }

    /// The value of a key, when it is there.
    pub(super) fn find(&self, name: &'static str) -> Option<Value<'a>> {
        let key = self.key(name)?;
        self.table?.get(name).map(|value| self.at.within(name, value, key.kind))
    }

    /// What a key says, or its default. `None` has been reported.
    pub(super) fn read<T>(
        &self,
        name: &'static str,
        cx: &mut Context<'_>,
        read: fn(&Value<'_>, &mut Context<'_>) -> Option<T>,
    ) -> Option<T> {
        if let Some(value) = self.find(name) {
            return read(&value, cx);
        }
        let key = self.key(name)?;
        let Absent::Default(toml) = key.absent else { return None };
        let default = DeValue::parse(toml).ok()?;
        read(&self.at.within(name, &default, key.kind), cx)
    }

    /// What a key says, if it is there. `None` has been reported.
    #[expect(clippy::option_option, reason = "broken and absent are two things")]
    pub(super) fn read_if_given<T>(
        &self,
        name: &'static str,
        cx: &mut Context<'_>,
        read: fn(&Value<'_>, &mut Context<'_>) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.find(name) {
            Some(value) => read(&value, cx).map(Some),
            None => Some(None),
        }
    }

    fn key(&self, name: &'static str) -> Option<&'static Key> {
        let key = self.section.key(name);
        debug_assert!(key.is_some(), "`{name}` is not in the table of `{}`", self.section.header);
        key
    }
}

impl Section {
    fn suggest(&'static self, typed: &str) -> String {
        let like_ours = typed.replace('_', "-").to_lowercase();
        let nearest = self
            .keys
            .iter()
            .map(|key| (strsim::damerau_levenshtein(&like_ours, key.name), key.name))
            .min()
            .filter(|(distance, name)| *distance <= name.len().div_ceil(3));
        match nearest {
            Some((_, name)) => format!("Did you mean `{name}`?"),
            None => {
                let known: Vec<_> = self.keys.iter().map(|key| format!("`{}`", key.name)).collect();
                format!("Known here: {}", known.join(", "))
            }
        }
    }
}

/// Stands where only a path is made.
static NOTHING: std::sync::LazyLock<Spanned<DeValue<'static>>> =
    std::sync::LazyLock::new(|| Spanned::new(0..0, DeValue::Boolean(false)));
