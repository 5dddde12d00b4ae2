//! Which sandbox, and how it lives: the parts of a `placement`.

use std::time::Duration;

use http::uri::PathAndQuery;
use tidegate_types::{SandboxName, TemplateName};

use crate::Implausible;
use crate::implausible::shown;
use crate::who::named;

/// Longer than any sandbox sleeps; clocks overflow beyond.
pub const MAX_SLEEP_AFTER: Duration = Duration::from_secs(366 * 86_400);
/// The most environment variables.
pub const MAX_VARIABLES: usize = 256;
/// All names and values of the environment together, in bytes.
pub const MAX_ENVIRONMENT: usize = 64 << 10;
/// The most labels.
pub const MAX_LABELS: usize = 64;
/// The longest name or value of a label, in bytes.
const MAX_LABEL: usize = 256;
/// The longest path, in bytes.
pub const MAX_PATH: usize = 8 << 10;

/// `placement.sandbox`: what a plugin calls a sandbox, as a name.
///
/// Refuses what reads like a path: a plugin that says such a thing has passed on what
/// it should have encoded. Other characters that a name may not have are replaced such
/// that different inputs never share a name; see [`SandboxName::normalise`].
///
/// # Errors
/// When it is empty, long, contains control characters, or reads like a path.
pub fn sandbox(text: &str) -> Result<SandboxName, Implausible> {
    let name = SandboxName::normalise(text).map_err(|bad| named("sandbox", bad))?;
    if text.contains(['/', '\\']) || matches!(text, "." | "..") {
        let what = format!("{} reads like a path, not like a name", shown(text));
        return Err(Implausible::new("sandbox", what));
    }
    Ok(name)
}

/// `placement.template`. Whether the operator has such a template, `known` says.
///
/// # Errors
/// When it is no template's name, or unknown.
pub fn template(
    text: &str,
    known: impl FnOnce(&TemplateName) -> bool,
) -> Result<TemplateName, Implausible> {
    let name = TemplateName::new(text).map_err(|bad| named("template", bad))?;
    if known(&name) {
        Ok(name)
    } else {
        Err(Implausible::new("template", format!("there is no template `{name}`")))
    }
}

/// `placement.port`.
///
/// # Errors
/// For port 0, on which nothing can listen.
pub fn port(port: u16) -> Result<u16, Implausible> {
    if port == 0 { Err(Implausible::new("port", "0 isn't a port")) } else { Ok(port) }
}

/// `placement.lifetime`, where it is `sleep-after`; in milliseconds.
///
/// # Errors
/// For no time at all, or more than [`MAX_SLEEP_AFTER`].
pub fn sleep_after(ms: u64) -> Result<Duration, Implausible> {
    let after = Duration::from_millis(ms);
    if after.is_zero() || after > MAX_SLEEP_AFTER {
        let most = MAX_SLEEP_AFTER.as_millis();
        let what = format!("{ms} ms; more than none and at most {most}");
        return Err(Implausible::new("lifetime.sleep-after", what));
    }
    Ok(after)
}

/// `placement.env`: variables that a process can be given.
///
/// # Errors
/// The first that can't, by its index; or that there are too many or too long ones.
pub fn environment(env: &[(String, String)]) -> Result<(), Implausible> {
    let size: usize = env.iter().map(|(name, value)| name.len() + value.len()).sum();
    if env.len() > MAX_VARIABLES || size > MAX_ENVIRONMENT {
        let what = format!(
            "{} variables of {size} bytes; at most {MAX_VARIABLES} of {MAX_ENVIRONMENT}",
            env.len()
        );
        return Err(Implausible::new("env", what));
    }
    for (index, (name, value)) in env.iter().enumerate() {
        let wrong = |what: String| Err(Implausible::new(format!("env[{index}]"), what));
        if name.is_empty() || name.contains(|c: char| c == '=' || c.is_control()) {
            return wrong(format!("a variable can't be called {}", shown(name)));
        }
        if value.contains('\0') {
            return wrong(format!("a NUL in the value of {}", shown(name)));
        }
    }
    Ok(())
}

/// `placement.labels`: short plain texts.
///
/// # Errors
/// The first that isn't, by its index; or that there are too many.
pub fn labels(labels: &[(String, String)]) -> Result<(), Implausible> {
    if labels.len() > MAX_LABELS {
        let what = format!("{} of them; at most {MAX_LABELS}", labels.len());
        return Err(Implausible::new("labels", what));
    }
    let odd = |text: &str| text.len() > MAX_LABEL || text.contains(char::is_control);
    for (index, (name, value)) in labels.iter().enumerate() {
        if name.is_empty() || odd(name) || odd(value) {
            let what = format!(
                "{} and its value must be 1 and 0 to {MAX_LABEL} bytes without control characters",
                shown(name)
            );
            return Err(Implausible::new(format!("labels[{index}]"), what));
        }
    }
    Ok(())
}

/// `placement.path`: a path that can stand in a request line, and leads nowhere else
/// than it says.
///
/// # Errors
/// When it doesn't begin with `/`, has a query, a fragment, dot segments or
/// characters that must be percent-encoded, or is long.
pub fn path(path: String) -> Result<String, Implausible> {
    // The relay's own parser has the last word on what can stand in a request line.
    let stands = path.parse::<PathAndQuery>().is_ok_and(|parsed| parsed.path() == path);
    let visible = path.bytes().all(|b| b.is_ascii_graphic()) && !path.contains('\\');
    let dots = path.split('/').any(is_dots);
    if !path.starts_with('/') || path.len() > MAX_PATH || !stands || !visible || dots {
        let what = format!("{} isn't a path as a request has it", shown(&path));
        return Err(Implausible::new("path", what));
    }
    Ok(path)
}

/// `.` or `..`, however it is encoded.
pub(crate) fn is_dots(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_is_called_by_a_name_and_not_by_a_path() {
        for bad in ["", "../../etc", "a/b", "a\\b", "..", ".", "a\0b", "a\nb"] {
            assert_eq!(sandbox(bad).expect_err(bad).field, "sandbox");
        }
        assert_eq!(sandbox("user-42").expect("a name").as_str(), "user-42");
        assert_eq!(
            sandbox("user-ann@x.org").expect("a name").as_str(),
            "user-ann-x-org--mpwh6ocrbdrkvpli2b4inn53oh"
        );
    }

    #[test]
    fn a_path_can_stand_in_a_request_line_and_leads_where_it_says() {
        for good in ["/", "/a%20b;c=1", "//x", "/a/...", "/.well-known/x"] {
            assert!(path(good.into()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "/a b",
            "/a?b",
            "/a#b",
            "/\r\n",
            "/ü",
            "/a/../b",
            "/./a",
            "/%2E%2e/a",
            "/a\\b",
        ] {
            assert!(path(bad.into()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn numbers_are_within_what_can_be() {
        assert!(port(0).is_err() && port(1).is_ok() && port(65_535).is_ok());
        for bad in [0, u64::MAX, 366 * 86_400_000 + 1] {
            assert!(sleep_after(bad).is_err(), "{bad}");
        }
        assert!(sleep_after(1).is_ok());
    }

    #[test]
    fn the_wrong_variable_or_label_is_named() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for bad in [pair("", "1"), pair("A=B", "1"), pair("A\n", "1"), pair("A", "a\0b")] {
            assert_eq!(environment(&[pair("A", "1"), bad]).expect_err("refused").field, "env[1]");
        }
        assert!(environment(&vec![pair("A", ""); MAX_VARIABLES + 1]).is_err());
        assert!(environment(&[pair("A", &"x".repeat(MAX_ENVIRONMENT))]).is_err());
        for bad in [pair("", "1"), pair("a", "b\nc"), pair(&"a".repeat(257), "")] {
            assert_eq!(labels(&[pair("a", ""), bad]).expect_err("refused").field, "labels[1]");
        }
    }

    #[test]
    fn only_the_operators_templates_exist() {
        assert!(template("hello", |name| name.as_str() == "hello").is_ok());
        let told = template("hullo", |_| false).expect_err("unknown").to_string();
        assert_eq!(told, "`template`: there is no template `hullo`");
        assert!(template("../x", |_| true).is_err());
    }
}
