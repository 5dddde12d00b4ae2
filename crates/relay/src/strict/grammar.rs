//! The character classes of RFC 9110 and RFC 3986 that a message is judged by.

macro_rules! class {
    ($(#[doc = $doc:literal])+ $name:ident, $byte:ident => $member:expr) => {
        $(#[doc = $doc])+
        pub(crate) fn $name(bytes: &[u8]) -> bool {
            static MEMBERS: [bool; 256] = {
                let mut members = [false; 256];
                let mut i = 0;
                while i < 256 {
                    let $byte = i as u8;
                    members[i] = $member;
                    i += 1;
                }
                members
            };
            // The index is a byte, so it cannot be out of bounds.
            bytes.iter().all(|byte| MEMBERS[usize::from(*byte)])
        }
    };
}

class! {
    /// RFC 9110 §5.6.2 `token`, but for its not being empty.
    all_token, b => b.is_ascii_alphanumeric()
        || matches!(b, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.'
            | b'^' | b'_' | b'`' | b'|' | b'~')
}
class! {
    /// Visible characters, space, tab, and the obsolete upper half.
    all_value, b => b == b'\t' || (b >= b' ' && b != 0x7f)
}
class! {
    /// RFC 3986 `pchar` and `/`, and the brackets and bars that clients leave
    /// unescaped. No `\`: some servers read it as `/`.
    all_path, b => b.is_ascii_graphic()
        && !matches!(b, b'#' | b'?' | b'\\' | b'"' | b'<' | b'>' | b'`')
}
class! {
    /// Nothing in a query has a structure of ours, so only what cannot stand in
    /// a request line, and the fragment's mark, are refused.
    all_query, b => b.is_ascii_graphic() && !matches!(b, b'#' | b'"' | b'<' | b'>')
}
class! {
    /// `reg-name` without sub-delimiters and escapes: what DNS and addresses need.
    all_host, b => b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')
}

/// A method or field name.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all_token(bytes)
}

/// `/path?query` with whole percent-escapes in the path.
pub(crate) fn is_origin_form(target: &[u8]) -> bool {
    let (path, query) = match memchr::memchr(b'?', target) {
        Some(at) => target.split_at(at),
        None => (target, &b""[..]),
    };
    path.first() == Some(&b'/') && all_path(path) && escapes_are_whole(path) && all_query(query)
}

fn escapes_are_whole(mut path: &[u8]) -> bool {
    while let Some(at) = memchr::memchr(b'%', path) {
        match path.get(at + 1..at + 3) {
            Some(hex) if hex.iter().all(u8::is_ascii_hexdigit) => {}
            _ => return false,
        }
        path = path.get(at + 3..).unwrap_or_default();
    }
    true
}

/// `host`, `host:port`, `192.0.2.1:80`, `[2001:db8::1]:443`. No user, no
/// escapes; the port, if any, is 1 to 65535 in digits.
pub(crate) fn is_authority(authority: &[u8]) -> bool {
    let (host, port) = if authority.first() == Some(&b'[') {
        let Some(end) = memchr::memchr(b']', authority) else { return false };
        let Some(inside) = authority.get(1..end) else { return false };
        let is_address = std::str::from_utf8(inside)
            .is_ok_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
        if !is_address {
            return false;
        }
        (&b"v6"[..], authority.get(end + 1..).unwrap_or_default())
    } else {
        match memchr::memchr(b':', authority) {
            Some(at) => authority.split_at(at),
            None => (authority, &b""[..]),
        }
    };
    !host.is_empty() && all_host(host) && is_port_suffix(port)
}

/// Nothing, or `:` and a port.
fn is_port_suffix(suffix: &[u8]) -> bool {
    match suffix.split_first() {
        None => true,
        Some((b':', digits)) => {
            (1..=5).contains(&digits.len())
                && digits.iter().all(u8::is_ascii_digit)
                && std::str::from_utf8(digits)
                    .is_ok_and(|digits| digits.parse::<u16>().is_ok_and(|port| port != 0))
        }
        Some(_) => false,
    }
}

/// Without spaces and tabs at both ends.
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let Some((b' ' | b'\t', rest)) = value.split_first() {
        value = rest;
    }
    while let Some((b' ' | b'\t', rest)) = value.split_last() {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_have_one_form() {
        for good in ["a", "alice.localhost:8080", "192.0.2.1", "[::1]", "[2001:db8::1]:443", "_x"] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a:", "a:0", "a:65536", "a:8o", "u@a", "a b", "[::1", "[a]", "[::1]x",
            "a/b", "a%2e", "a,b", "a:80:80", "a:+80",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn targets_have_whole_escapes_and_no_backslash() {
        for good in ["/", "/a?b=%", "/a%2Fb", "/[x]|{y}", "/?q={\\}"] {
            assert!(is_origin_form(good.as_bytes()), "{good}");
        }
        for bad in ["", "a", "/%", "/%2", "/%zz", "/a\\b", "/a#b", "/?a#b", "/ ", "/\u{e4}"] {
            assert!(!is_origin_form(bad.as_bytes()), "{bad}");
        }
    }
}
