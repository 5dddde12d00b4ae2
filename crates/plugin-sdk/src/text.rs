//! Percent-encoding, and the small grammar of durations.

use serde::{Deserialize, Deserializer, de::Error as _};

/// Decodes `%41` to `A`, and `+` to a space where `form` says so. `None` when the
/// result isn't UTF-8. A `%` without two hexadecimal digits stands for itself.
#[must_use]
pub fn percent_decode(text: &str, form: Form) -> Option<String> {
    // Nearly all text is plain, and this is on every request's path.
    if !is_encoded(text, form) {
        return Some(text.into());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let escaped = match (byte, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = tail.get(2..).unwrap_or_default();
            }
            None if byte == b'+' && form == Form::Query => bytes.push(b' '),
            None => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Where percent-encoded text stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A query: `+` is a space.
    Query,
    /// Anywhere else.
    Other,
}

/// Whether decoding could change anything.
pub(crate) fn is_encoded(text: &str, form: Form) -> bool {
    text.bytes().any(|byte| byte == b'%' || byte == b'+' && form == Form::Query)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// Encodes everything but letters, digits and `-._~`, so that the result may stand
/// in a cookie's value.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A duration as operators write it: `500ms`, `90s`, `10m`, `12h`, `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Millis(pub u64);

impl Millis {
    /// Reads one number and one unit.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let unit = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(unit);
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(factor).map(Self)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!("`{text}` is not a duration such as `90s`, `10m` or `12h`"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_decodes_to_itself() {
        for text in ["plain", "a b+c%d", "ü;\"\\,", "", "%%41%"] {
            assert_eq!(percent_decode(&percent_encode(text), Form::Other).as_deref(), Some(text));
        }
        assert_eq!(percent_decode("a+b%2", Form::Query).as_deref(), Some("a b%2"));
        assert_eq!(percent_decode("%ff", Form::Query), None);
    }

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        assert_eq!(Millis::parse("10m"), Some(Millis(600_000)));
        for bad in ["", "10", "m", "1.5s", "-1s", "10 m", "99999999999999999999d"] {
            assert_eq!(Millis::parse(bad), None, "{bad}");
        }
    }
}
