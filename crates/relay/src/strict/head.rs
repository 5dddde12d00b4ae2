//! Judges the head of a message, line by line.

use super::Limits;
use super::grammar::{all_value, is_authority, is_origin_form, is_token, trim};
use super::violation::Violation;

/// A head of which some lines have been seen.
#[derive(Debug, Default)]
pub(super) struct Head {
    seen_request_line: bool,
    seen_empty_line: bool,
    http10: bool,
    fields: usize,
    bytes: usize,
    hosts: u8,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

/// What follows a complete head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    /// The next head.
    Nothing,
    /// That many bytes.
    Length(u64),
    /// Chunks.
    Chunks,
    /// Either another protocol or the next head: the answer decides.
    PerhapsUpgrade,
}

impl Head {
    /// Takes one line with its line feed; says what follows once it was the last.
    pub(super) fn line(
        &mut self,
        line: &[u8],
        limits: &Limits,
    ) -> Result<Option<Follows>, Violation> {
        self.bytes += line.len();
        if self.bytes > limits.head_bytes {
            return Err(self.too_large());
        }
        let line = line.strip_suffix(b"\r\n").ok_or(Violation::LineEnd)?;
        if !self.seen_request_line {
            // RFC 9112 §2.2: one empty line before the request line is forgiven.
            if line.is_empty() && !self.seen_empty_line {
                self.seen_empty_line = true;
                return Ok(None);
            }
            self.seen_request_line = true;
            return self.request_line(line, limits).map(|()| None);
        }
        if line.is_empty() {
            return self.end().map(Some);
        }
        self.fields += 1;
        if self.fields > limits.fields {
            return Err(Violation::TooManyFields);
        }
        self.field(line).map(|()| None)
    }

    /// Whether an unfinished line of `bytes` bytes is too much already.
    pub(super) fn check_unfinished(&self, bytes: usize, limits: &Limits) -> Result<(), Violation> {
        if !self.seen_request_line && bytes > limits.target_bytes + 32 {
            return Err(Violation::TargetTooLong);
        }
        if self.bytes + bytes > limits.head_bytes { Err(self.too_large()) } else { Ok(()) }
    }

    /// Whether nothing of it has been seen.
    pub(super) fn is_untouched(&self) -> bool {
        self.bytes == 0
    }

    fn too_large(&self) -> Violation {
        if self.seen_request_line { Violation::HeadTooLarge } else { Violation::TargetTooLong }
    }

    fn request_line(&mut self, line: &[u8], limits: &Limits) -> Result<(), Violation> {
        let mut parts = line.split(|b| *b == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Violation::RequestLine);
        };
        if !is_token(method) {
            return Err(Violation::Method);
        }
        match version {
            b"HTTP/1.1" => {}
            b"HTTP/1.0" => self.http10 = true,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                return Err(Violation::Version);
            }
            _ => return Err(Violation::RequestLine),
        }
        if target.len() > limits.target_bytes {
            return Err(Violation::TargetTooLong);
        }
        // CONNECT asks for a tunnel, which the gateway is not; TRACE would show
        // the client what the gateway adds to its request.
        if method == b"CONNECT" || method == b"TRACE" {
            return Err(Violation::MethodRefused);
        }
        if is_target(method, target) { Ok(()) } else { Err(Violation::Target) }
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Violation> {
        let (name, value) = split_field(line)?;
        // By length first: nearly every field is none of these.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.hosts = self.hosts.saturating_add(1);
                if !is_authority(trim(value)) {
                    return Err(Violation::Host);
                }
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            14 if is_name_or_alias(name, b"content-length") => {
                let length = content_length(name, trim(value))?;
                // A second one is refused even when it says the same.
                if self.length.replace(length).is_some() {
                    return Err(Violation::ContentLength);
                }
            }
            17 if is_name_or_alias(name, b"transfer-encoding") => {
                let valid = !name.contains(&b'_') && trim(value) == b"chunked";
                if !valid || self.chunked || self.http10 {
                    return Err(Violation::TransferEncoding);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&self) -> Result<Follows, Violation> {
        if self.hosts != 1 {
            return Err(Violation::Host);
        }
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Violation::LengthAndEncoding),
            (None, true) => Ok(Follows::Chunks),
            (Some(length), false) if length > 0 => Ok(Follows::Length(length)),
            // An upgrade of a request with a body is not served (and none is
            // known): what follows such a body is a head like any other.
            _ if self.upgrade && !self.http10 => Ok(Follows::PerhapsUpgrade),
            _ => Ok(Follows::Nothing),
        }
    }
}

/// Splits `name: value`; both are of permitted characters.
pub(super) fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Violation> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Violation::Fold);
    }
    let at = memchr::memchr(b':', line).ok_or(Violation::FieldName)?;
    let (name, value) = line.split_at(at);
    // `name` with a space before the colon is no token.
    if !is_token(name) {
        return Err(Violation::FieldName);
    }
    let value = value.get(1..).unwrap_or_default();
    if all_value(value) { Ok((name, value)) } else { Err(Violation::Control) }
}

/// Whether `name` is the lower-case `known`, or would be for an application that
/// reads `_` and `-` alike (CGI and its heirs).
pub(super) fn is_name_or_alias(name: &[u8], known: &[u8]) -> bool {
    name.len() == known.len()
        && name
            .iter()
            .zip(known)
            .all(|(n, k)| n.eq_ignore_ascii_case(k) || (*n == b'_' && *k == b'-'))
}

fn content_length(name: &[u8], value: &[u8]) -> Result<u64, Violation> {
    let digits = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    if name.contains(&b'_') || !digits {
        return Err(Violation::ContentLength);
    }
    std::str::from_utf8(value)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or(Violation::ContentLength)
}

/// RFC 9112 §3.2: origin-form, absolute-form, and `*` for OPTIONS.
fn is_target(method: &[u8], target: &[u8]) -> bool {
    if target.first() == Some(&b'/') {
        return is_origin_form(target);
    }
    if target == b"*" {
        return method == b"OPTIONS";
    }
    let rest = target.strip_prefix(b"http://").or_else(|| target.strip_prefix(b"https://"));
    let Some(rest) = rest else { return false };
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    is_authority(authority) && (tail.is_empty() || is_origin_form(tail))
}
