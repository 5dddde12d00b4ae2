//! One event as one line.

use serde_json::{Map, Value};
use tidegate_plugin::plugin::Event;

/// Fields whose values are numbers. Whatever else is text.
const NUMBERS: &[&str] = &[
    "after-ms",
    "amount",
    "bytes-in",
    "bytes-out",
    "generation",
    "incarnation",
    "limit",
    "port",
    "retry-after-ms",
    "size",
    "status",
    "took-us",
    "used",
];

/// The line of `event`. `written` says what is written of a field's value, if anything.
///
/// # Errors
/// The first that `written` returns.
pub(crate) fn of<E>(
    event: &Event,
    written: impl Fn(&str, &str) -> Result<Option<String>, E>,
) -> Result<String, E> {
    let mut line = Map::new();
    line.insert("at".into(), time(event.at_ms).into());
    line.insert("kind".into(), event.kind.clone().into());
    let about = [
        ("tenant", &event.tenant),
        ("subject", &event.subject),
        ("sandbox", &event.sandbox),
        ("decision", &event.decision_id),
    ];
    let fields = event.fields.iter().map(|(name, value)| (name.as_str(), value));
    let known = about.into_iter().filter(|(_, value)| !value.is_empty());
    for (name, value) in known.chain(fields) {
        // What the event is about can't be said anew by one of its fields.
        if line.contains_key(name) {
            continue;
        }
        if let Some(text) = written(name, value)? {
            let number = if NUMBERS.contains(&name) { text.parse::<u64>().ok() } else { None };
            line.insert(name.into(), number.map_or(Value::String(text), Value::from));
        }
    }
    Ok(Value::Object(line).to_string())
}

/// As RFC 3339 has it, in UTC: `2026-11-24T01:02:03.004Z`.
fn time(unix_ms: u64) -> String {
    let (seconds, ms) = (unix_ms / 1_000, unix_ms % 1_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{ms:03}Z", second % 60)
}

/// The day of the Gregorian calendar that is `days` after 1970-01-01. Years begin in
/// March here, so that leap days stand at their ends; an era is 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(fields: &[(&str, &str)]) -> Event {
        Event {
            at_ms: 1_795_482_123_004,
            kind: "request".into(),
            tenant: "demo".into(),
            subject: "alice".into(),
            sandbox: String::new(),
            decision_id: "d-1".into(),
            fields: fields.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
        }
    }

    fn all(_: &str, value: &str) -> Result<Option<String>, ()> {
        Ok(Some(value.to_owned()))
    }

    #[test]
    fn a_line_is_one_object_in_one_line() {
        let line = of(&event(&[("status", "200"), ("path", "/a\"\n\\")]), all).expect("a line");
        assert!(!line.contains('\n'));
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["at"], "2026-11-24T01:02:03.004Z");
        assert_eq!(value["status"], 200);
        assert_eq!(value["path"], "/a\"\n\\");
        assert_eq!(value.get("sandbox"), None);
    }

    #[test]
    fn no_field_can_say_anew_what_the_event_is_about() {
        let line = of(&event(&[("kind", "quota"), ("tenant", "other")]), all).expect("a line");
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&value["kind"], &value["tenant"]), (&"request".into(), &"demo".into()));
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (1_798_761_599_999, "2026-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(time(ms), expected);
        }
    }
}
