//! Who may ask: the token, and which requests are answered at all.
//!
//! Three walls, each against somebody else: the token against whoever reaches
//! the listener; the check of `Host` against web pages that point their own name
//! at it (DNS rebinding); the token being a header field, not a cookie, against
//! web pages that make a browser send requests.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use http::{HeaderMap, header};
use subtle::ConstantTimeEq;
use tidegate_types::Secret;

/// The control token: whoever has it may do everything.
#[derive(Debug, Clone)]
pub struct Token(Secret);

impl Token {
    /// The file's name within the state directory.
    pub const FILE: &str = "control.token";

    /// Takes a token that was read elsewhere.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// The token itself, as a client sends it.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    /// Reads the token of a state directory, or makes one: 256 random bits, mode
    /// 0600. One that an operator put there is accepted from 32 characters on.
    ///
    /// # Errors
    /// When the file can't be read or made, others may read it, or it is no token.
    pub fn load_or_create(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join(Self::FILE);
        match Self::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(&path),
            result => result,
        }
    }

    /// Reads a token file.
    ///
    /// # Errors
    /// When it can't be read, others than its owner may read it, or it is no token.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bad = |why: &str| {
            io::Error::new(io::ErrorKind::InvalidData, format!("`{}` {why}", path.display()))
        };
        let mode = fs::metadata(path)?.mode();
        if mode & 0o077 != 0 {
            return Err(bad("can be read by others: make its mode 0600, and the token anew"));
        }
        let text = fs::read_to_string(path)?;
        let token = text.trim_ascii();
        if token.len() < 32 || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(bad("holds no token: remove it, the next start makes another"));
        }
        Ok(Self(Secret::new(token.to_owned())))
    }

    fn create(path: &Path) -> io::Result<Self> {
        let bits: [u8; 32] = rand::random();
        let token: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
        // Renamed when whole: a crash in between leaves no half token.
        let new = path.with_extension(format!("token.{}", std::process::id()));
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(format!("{token}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        Ok(Self(Secret::new(token)))
    }

    /// Whether a request carries this token; in constant time.
    fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        let Some((scheme, token)) = value.as_bytes().split_at_checked(7) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ")
            && bool::from(token.ct_eq(self.0.reveal().as_bytes()))
    }
}

/// Which requests are answered.
#[derive(Debug, Clone)]
pub struct Access {
    /// What `Authorization: Bearer` must carry.
    pub token: Token,
    /// Host names that a request may be addressed to, besides `localhost`, names
    /// below it, and IP addresses; lower case.
    pub hosts: Vec<String>,
    /// Whether `/metrics` is answered without the token.
    pub open_metrics: OpenMetrics,
}

/// Whether `/metrics` is answered without the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OpenMetrics {
    /// It needs the token.
    #[default]
    No,
    /// Whoever reaches the listener may read it.
    Yes,
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Barred {
    /// It is addressed to a name that is not ours.
    Host,
    /// It carries no token, or a wrong one.
    Token,
}

impl Access {
    pub(crate) fn judge(
        &self,
        path: &str,
        authority: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<(), Barred> {
        let host = headers.get(header::HOST).map(|value| value.to_str().unwrap_or(""));
        // Without either it is no browser: HTTP/1.0 from a health check.
        if let Some(host) = authority.or(host)
            && !self.is_ours(host)
        {
            return Err(Barred::Host);
        }
        let open = match path {
            "/healthz" | "/readyz" => true,
            "/metrics" => self.open_metrics == OpenMetrics::Yes,
            _ => false,
        };
        if open || self.token.is_in(headers) { Ok(()) } else { Err(Barred::Token) }
    }

    fn is_ours(&self, authority: &str) -> bool {
        let host = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map_or("", |(host, _)| host),
            None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
        };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<IpAddr>().is_ok()
            || self.hosts.contains(&host)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use http::HeaderValue;

    use super::*;

    fn access() -> Access {
        Access {
            token: Token::new(Secret::new("t".repeat(64))),
            hosts: vec!["ops.example.org".into()],
            open_metrics: OpenMetrics::No,
        }
    }

    #[test]
    fn only_names_that_no_web_page_can_own_are_ours() {
        let check =
            |host: &str, expected: bool| assert_eq!(access().is_ours(host), expected, "{host}");
        for ours in [
            "localhost",
            "LOCALHOST:81",
            "a.localhost",
            "127.0.0.1:81",
            "[::1]:81",
            "10.0.0.7",
            "ops.example.org:443",
            "ops.example.org.",
        ] {
            check(ours, true);
        }
        for theirs in [
            "evil.org",
            "localhost.evil.org",
            "127.0.0.1.evil.org",
            "xlocalhost",
            "",
            "[::1",
            "example.org",
            "ops.example.org.evil.org:81",
        ] {
            check(theirs, false);
        }
    }

    #[test]
    fn only_the_whole_token_opens() {
        let good = "t".repeat(64);
        let check = |values: &[&str], expected: bool| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers
                    .append(header::AUTHORIZATION, HeaderValue::from_str(value).expect("a value"));
            }
            assert_eq!(
                access().judge("/v1/sandboxes", None, &headers).is_ok(),
                expected,
                "{values:?}"
            );
        };
        check(&[&format!("Bearer {good}")], true);
        check(&[&format!("bearer {good}")], true);
        check(&[], false);
        check(&[""], false);
        check(&["Bearer "], false);
        check(&[&format!("Bearer {good}t")], false);
        check(&[&format!("Bearer {}", &good[1..])], false);
        check(&[&format!("Basic {good}")], false);
        check(&[&format!("Bearer {good}"), &format!("Bearer {good}")], false);
    }

    #[test]
    fn a_token_is_made_once_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = Token::load_or_create(dir.path()).expect("made");
        let again = Token::load_or_create(dir.path()).expect("read");
        assert_eq!(first.secret(), again.secret());
        assert_eq!(first.secret().reveal().len(), 64);
        let path = dir.path().join(Token::FILE);
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changed");
        let error = Token::load_or_create(dir.path()).expect_err("refused").to_string();
        assert!(error.contains("can be read by others"), "{error}");
    }

    #[test]
    fn a_file_without_a_token_is_refused_and_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(Token::FILE);
        for content in ["", "short", "two words that are long enough for a token"] {
            fs::write(&path, content).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("changed");
            assert!(Token::load_or_create(dir.path()).is_err(), "{content}");
            assert_eq!(fs::read_to_string(&path).expect("kept"), content);
        }
    }
}
