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

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// RFC 4648 §5, without padding: text that may stand in a URL and in a cookie.
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..=chunk.len() {
            let digit = bits >> (18 - 6 * at) & 63;
            text.push(char::from(DIGITS[digit as usize]));
        }
    }
    text
}

/// What [`base64url`] made; `None` for anything else, other spellings of the same
/// bytes included.
#[must_use]
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.as_bytes().chunks(4) {
        let mut bits = 0;
        for at in 0..4 {
            let digit = match chunk.get(at) {
                None => 0,
                Some(b'A'..=b'Z') => chunk[at] - b'A',
                Some(b'a'..=b'z') => chunk[at] - b'a' + 26,
                Some(b'0'..=b'9') => chunk[at] - b'0' + 52,
                Some(b'-') => 62,
                Some(b'_') => 63,
                Some(_) => return None,
            };
            bits = bits << 6 | u32::from(digit);
        }
        let [_, whole @ ..] = bits.to_be_bytes();
        let (kept, rest) = whole.split_at(chunk.len().checked_sub(1).filter(|n| *n > 0)?);
        if rest.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(kept);
    }
    Some(bytes)
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
    fn every_length_of_bytes_comes_back_from_base64url_and_nothing_else_is_read() {
        let bytes: Vec<u8> = (0..=255).rev().collect();
        for length in 0..bytes.len() {
            let text = base64url(&bytes[..length]);
            assert_eq!(from_base64url(&text).as_deref(), Some(&bytes[..length]), "{text}");
        }
        assert_eq!(base64url(b"\xfb\xff\xfe"), "-__-");
        for wrong in ["A", "AAAAA", "A=", "AA==", "A+A", "AB", "AAB", "\u{e4}A"] {
            assert_eq!(from_base64url(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        assert_eq!(Millis::parse("10m"), Some(Millis(600_000)));
        for bad in ["", "10", "m", "1.5s", "-1s", "10 m", "99999999999999999999d"] {
            assert_eq!(Millis::parse(bad), None, "{bad}");
        }
    }
}
