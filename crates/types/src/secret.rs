//! Values that must never be seen: not in logs, errors, process arguments or sandboxes.

use std::fmt;

use zeroize::Zeroizing;

/// A secret value. Printing it in any way prints `[secret]`; its memory is
/// overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes `value` into custody.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself. Each caller is a place to look at in a security review.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// What a secret is called in the configuration: the only thing that plugins and
/// templates ever see of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretName(String);

impl SecretName {
    /// Names a secret. Any text is a name; whether it exists is the store's affair.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Splits `text` around each `secret:NAME` it contains and puts the values in.
///
/// A name is the longest run of letters, digits, `_` and `-` after `secret:`.
/// `Bearer secret:OPENAI_API_KEY` → `Bearer sk-…`.
///
/// # Errors
/// The first name that `lookup` does not know.
pub fn fill_in<'a>(
    text: &str,
    lookup: impl Fn(&str) -> Option<&'a Secret>,
) -> Result<Secret, SecretName> {
    const MARK: &str = "secret:";
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(MARK) {
        filled.push_str(&rest[..at]);
        let after = &rest[at + MARK.len()..];
        let end = after
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
            .unwrap_or(after.len());
        let (name, tail) = after.split_at(end);
        filled.push_str(lookup(name).ok_or_else(|| SecretName::new(name))?.reveal());
        rest = tail;
    }
    filled.push_str(rest);
    Ok(Secret::new(filled))
}

/// Whether `text` refers to a secret at all.
#[must_use]
pub fn mentions_secret(text: &str) -> bool {
    text.contains("secret:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints_itself() {
        let secret = Secret::new("hunter2".into());
        assert_eq!(format!("{secret} {secret:?}"), "[secret] [secret]");
    }

    #[test]
    fn names_are_replaced_by_values_and_unknown_ones_are_named() {
        let key = Secret::new("k1".into());
        let lookup = |name: &str| (name == "KEY").then_some(&key);
        let filled = |text: &str| fill_in(text, lookup).map(|s| s.reveal().to_owned());
        assert_eq!(filled("Bearer secret:KEY"), Ok("Bearer k1".into()));
        assert_eq!(filled("a secret:KEY, secret:KEY."), Ok("a k1, k1.".into()));
        assert_eq!(filled("plain"), Ok("plain".into()));
        assert_eq!(filled("secret:NONE"), Err(SecretName::new("NONE")));
    }
}
