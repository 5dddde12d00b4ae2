//! A refusal that a client can be shown.

use http::{StatusCode, header};
use tidegate_types::Denial;

use crate::Implausible;
use crate::fields::{Direction, MAX_EDITS, MAX_FIELD_BYTES, field_name, field_value};
use crate::implausible::shown;

/// The longest code, in bytes.
pub const MAX_CODE: usize = 64;
/// The longest message, in bytes.
pub const MAX_MESSAGE: usize = 1_024;

/// A refusal that a client can be shown: a 4xx, or a redirect that says where to.
///
/// # Errors
/// The first field that is wrong, within `denial`.
pub fn denial(
    status: u16,
    code: String,
    message: String,
    headers: Vec<(String, String)>,
) -> Result<Denial, Implausible> {
    whole(status, code, message, headers).map_err(|wrong| wrong.within("denial"))
}

fn whole(
    status: u16,
    code: String,
    message: String,
    headers: Vec<(String, String)>,
) -> Result<Denial, Implausible> {
    if headers.len() > MAX_EDITS {
        let what = format!("{} header fields; at most {MAX_EDITS}", headers.len());
        return Err(Implausible::new("headers", what));
    }
    let mut room = MAX_FIELD_BYTES;
    let mut believed = Vec::with_capacity(headers.len());
    for (index, (name, value)) in headers.iter().enumerate() {
        let field = field_name(name, Direction::Answer)
            .and_then(|field| Ok((field, field_value(name, value, &mut room)?)));
        believed.push(field.map_err(|wrong| wrong.within(&format!("headers[{index}]")))?);
    }
    let leads_elsewhere = believed.iter().any(|(name, _)| name == header::LOCATION);
    let status = believable_status(status, leads_elsewhere)?;
    let legible = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if code.is_empty() || code.len() > MAX_CODE || !code.chars().all(legible) {
        let what = format!(
            "{} isn't a word of at most {MAX_CODE} letters, digits, `-`, `_` and `.`",
            shown(&code)
        );
        return Err(Implausible::new("code", what));
    }
    if message.len() > MAX_MESSAGE {
        let what = format!("{} bytes; at most {MAX_MESSAGE}", message.len());
        return Err(Implausible::new("message", what));
    }
    if message.contains(char::is_control) {
        return Err(Implausible::new("message", "it contains control characters"));
    }
    Ok(Denial { status, code, message, headers: believed })
}

/// Of the 3xx only those that send a client elsewhere: the others mean something
/// that no refusal means.
fn believable_status(status: u16, leads_elsewhere: bool) -> Result<StatusCode, Implausible> {
    let redirects = matches!(status, 301 | 302 | 303 | 307 | 308);
    match StatusCode::from_u16(status) {
        Ok(believed) if believed.is_client_error() || redirects && leads_elsewhere => Ok(believed),
        _ if redirects => {
            Err(Implausible::new("status", format!("{status} without a `location` in `headers`")))
        }
        _ => Err(Implausible::new(
            "status",
            format!("{status} is neither a 4xx nor one of 301, 302, 303, 307, 308"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, headers: &[(&str, &str)]) -> Result<Denial, Implausible> {
        let headers = headers.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        denial(status, "no".into(), "No.".into(), headers)
    }

    #[test]
    fn a_refusal_is_a_4xx_or_leads_elsewhere() {
        for status in [400, 401, 403, 404, 429, 499] {
            assert!(refusal(status, &[]).is_ok(), "{status}");
        }
        for status in [0, 99, 100, 200, 204, 302, 303, 304, 500, 503, 600, 1_000, 65_535] {
            let told = refusal(status, &[]).expect_err("not a refusal").to_string();
            assert!(told.starts_with(&format!("`denial.status`: {status} ")), "{told}");
        }
        assert!(refusal(303, &[("Location", "/a")]).is_ok());
        for status in [200, 304, 300] {
            assert!(refusal(status, &[("Location", "/a")]).is_err());
        }
    }

    #[test]
    fn header_fields_that_split_or_frame_a_message_are_named() {
        let told = |name, value| {
            let fields = [("x-fine", "1"), (name, value)];
            refusal(401, &fields).expect_err("refused").field
        };
        assert_eq!(told("location", "/a\r\nset-cookie: x=1"), "denial.headers[1].value");
        assert_eq!(told("a b", "1"), "denial.headers[1].name");
        assert_eq!(told("connection", "close"), "denial.headers[1].name");
    }

    #[test]
    fn words_for_people_and_programs_are_plain() {
        let told = |code: &str, message: &str| {
            denial(401, code.into(), message.into(), Vec::new()).expect_err("refused").field
        };
        assert_eq!(told("", ""), "denial.code");
        assert_eq!(told("two words", ""), "denial.code");
        assert_eq!(told(&"a".repeat(65), ""), "denial.code");
        assert_eq!(told("no", "a\nb"), "denial.message");
        assert_eq!(told("no", &"a".repeat(1_025)), "denial.message");
    }
}
