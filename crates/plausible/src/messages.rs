//! What becomes of a WebSocket message.

use tidegate_types::MessageVerdict;

use crate::Implausible;
use crate::implausible::shown;

/// The longest reason of a close frame, in bytes (RFC 6455 §5.5: 125 less the code).
pub const MAX_REASON: usize = 123;

/// A close frame that a plugin may have sent: 1000, 1008, or the applications' own
/// 3000 to 4999. The others belong to the protocol and to the host.
///
/// # Errors
/// The code or the reason, within `close`.
pub fn close(code: u16, reason: String) -> Result<MessageVerdict, Implausible> {
    if !matches!(code, 1000 | 1008 | 3000..=4999) {
        let what = format!("{code} is none of 1000, 1008 and 3000 to 4999");
        return Err(Implausible::new("close.code", what));
    }
    if reason.len() > MAX_REASON {
        let what = format!("{} bytes; at most {MAX_REASON}", reason.len());
        return Err(Implausible::new("close.reason", what));
    }
    if reason.contains(char::is_control) {
        return Err(Implausible::new("close.reason", format!("{} isn't plain", shown(&reason))));
    }
    Ok(MessageVerdict::Close { code, reason })
}

/// The length of what a message is replaced by; `most` is what a message may have.
///
/// # Errors
/// When it is longer.
pub fn replacement(length: usize, most: usize) -> Result<(), Implausible> {
    if length > most {
        return Err(Implausible::new("replace", format!("{length} bytes; at most {most}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_that_are_a_policys_to_send_are_sent() {
        for code in [1000, 1008, 3000, 4401, 4999] {
            assert!(close(code, "bye".into()).is_ok(), "{code}");
        }
        for code in [0, 999, 1001, 1005, 1006, 1011, 1012, 1015, 2000, 2999, 5000, 65_535] {
            assert_eq!(close(code, String::new()).expect_err("refused").field, "close.code");
        }
        assert!(close(1000, "é".repeat(61)).is_ok());
        for reason in ["é".repeat(62), "a\nb".into()] {
            assert_eq!(close(1000, reason).expect_err("refused").field, "close.reason");
        }
        assert!(replacement(10, 10).is_ok() && replacement(11, 10).is_err());
    }
}
