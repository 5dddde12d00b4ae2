//! Who is asking: the parts of a `principal`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_types::{BadName, SubjectId, TenantId};

use crate::Implausible;
use crate::implausible::shown;

/// The most claims of one identity.
pub const MAX_CLAIMS: usize = 128;
/// Name and value of one claim together, in bytes.
pub const MAX_CLAIM: usize = 8 << 10;
/// The most places for credentials that a plugin may name.
pub const MAX_PLACES: usize = 64;
/// The longest name of a cookie or of a query parameter, in bytes.
const MAX_NAME: usize = 256;

/// `principal.subject`.
///
/// # Errors
/// When it is empty, long or contains control characters.
pub fn subject(text: &str) -> Result<SubjectId, Implausible> {
    SubjectId::new(text).map_err(|bad| named("subject", bad))
}

/// `principal.tenant`.
///
/// # Errors
/// As [`subject`].
pub fn tenant(text: &str) -> Result<TenantId, Implausible> {
    TenantId::new(text).map_err(|bad| named("tenant", bad))
}

pub(crate) fn named(field: &str, bad: BadName) -> Implausible {
    let BadName { kind, value, expected } = bad;
    Implausible::new(field, format!("{} isn't a {kind}: {expected}", shown(&value)))
}

/// `principal.claims`: what else is known about the identity.
///
/// # Errors
/// The first that is nameless or long, by its index; or that there are too many.
pub fn claims(claims: &[(String, String)]) -> Result<(), Implausible> {
    if claims.len() > MAX_CLAIMS {
        let what = format!("{} of them; at most {MAX_CLAIMS}", claims.len());
        return Err(Implausible::new("claims", what));
    }
    for (index, (name, value)) in claims.iter().enumerate() {
        let wrong = |what: String| Err(Implausible::new(format!("claims[{index}]"), what));
        if name.is_empty() || name.contains(char::is_control) {
            return wrong(format!("it is called {}", shown(name)));
        }
        if name.len() + value.len() > MAX_CLAIM {
            let size = name.len() + value.len();
            return wrong(format!("{} has {size} bytes; at most {MAX_CLAIM}", shown(name)));
        }
    }
    Ok(())
}

/// `principal.expires-at-ms`, in Unix time.
///
/// # Errors
/// When no clock of this machine can show it.
pub fn expiry(ms: u64) -> Result<SystemTime, Implausible> {
    UNIX_EPOCH
        .checked_add(Duration::from_millis(ms))
        .ok_or_else(|| Implausible::new("expires-at-ms", format!("{ms} is beyond all clocks")))
}

/// How many places for credentials `principal.consumed` names.
///
/// # Errors
/// When there are more than a request can have.
pub fn number_of_places(count: usize) -> Result<(), Implausible> {
    if count > MAX_PLACES {
        let what = format!("{count} places for credentials; at most {MAX_PLACES}");
        return Err(Implausible::new("consumed", what));
    }
    Ok(())
}

/// A cookie's name: a token of RFC 9110 §5.6.2.
///
/// # Errors
/// When it isn't one, or is long.
pub fn cookie(name: String) -> Result<String, Implausible> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(allowed) {
        return Err(Implausible::new("cookie", format!("{} isn't a cookie's name", shown(&name))));
    }
    Ok(name)
}

/// The decoded name of a query parameter.
///
/// # Errors
/// When it is empty or long.
pub fn query_param(name: String) -> Result<String, Implausible> {
    if name.is_empty() || name.len() > MAX_NAME {
        let what = format!("{} isn't a name of 1 to {MAX_NAME} bytes", shown(&name));
        return Err(Implausible::new("query-param", what));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_nameless_and_no_name_obeys_a_terminal() {
        for bad in ["", "a\nb", "\u{1b}[2J", &"x".repeat(257)] {
            assert_eq!(subject(bad).expect_err("refused").field, "subject");
            assert_eq!(tenant(bad).expect_err("refused").field, "tenant");
        }
        let told = tenant("").expect_err("refused").within("principal").to_string();
        assert_eq!(
            told,
            "`principal.tenant`: `` isn't a tenant: 1 to 256 bytes without control characters"
        );
        assert!(tenant("spiffe://td/ns/x").is_ok());
    }

    #[test]
    fn the_wrong_claim_is_named() {
        let claim = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let told = |wrong: (String, String)| {
            claims(&[claim("plan", "pro"), wrong]).expect_err("refused").field
        };
        assert_eq!(told(claim("", "x")), "claims[1]");
        assert_eq!(told(claim("a\0", "x")), "claims[1]");
        assert_eq!(told(claim("a", &"x".repeat(MAX_CLAIM))), "claims[1]");
        let many = vec![claim("a", "b"); MAX_CLAIMS + 1];
        assert_eq!(
            claims(&many).expect_err("too many").to_string(),
            "`claims`: 129 of them; at most 128"
        );
    }

    #[test]
    fn places_for_credentials_have_names() {
        assert!(cookie("__Host-tidegate".into()).is_ok());
        for bad in ["", "a b", "a=b", "a;b", "ü"] {
            assert!(cookie(bad.into()).is_err(), "{bad}");
        }
        assert!(query_param("to ken".into()).is_ok());
        assert!(query_param(String::new()).is_err());
        assert!(number_of_places(64).is_ok() && number_of_places(65).is_err());
        assert!(expiry(u64::MAX).is_ok());
    }
}
