//! Cookies of a request, and cookies to set: host-only, HttpOnly, SameSite=Lax, and
//! under https with the prefix `__Host-`, so that no sibling sub-domain plants one.

use crate::facts::Facts;

/// No sibling sub-domain can plant a cookie whose name begins so.
const HOST_ONLY: &str = "__Host-";

/// What `name` is called in a request of that kind.
#[must_use]
pub fn cookie_name(name: &str, https: bool) -> String {
    if https { [HOST_ONLY, name].concat() } else { name.into() }
}

/// The pairs of a request whose name is `wanted`, in order; values as they stand there.
pub fn cookies(request: &impl Facts, wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let values = request.header_values("cookie");
    let texts = values.iter().filter_map(|value| std::str::from_utf8(value).ok());
    let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| {
        // Not `trim`, which knows more kinds of space than the host, than RFC
        // 6265 and than browsers: a sibling could plant `__Host-` behind one.
        let (name, value) = pair.trim_matches([' ', '\t']).split_once('=')?;
        wanted(name).then(|| (name.into(), value.into()))
    });
    pairs.collect()
}

/// A `set-cookie` that lasts for `lives_ms`; `name` as [`cookie_name`] makes it, and
/// `value` of characters that may stand in a cookie.
#[must_use]
pub fn set_cookie(name: &str, value: &str, lives_ms: u64) -> (String, String) {
    let secure = if name.starts_with(HOST_ONLY) { "; Secure" } else { "" };
    let max_age = lives_ms / 1_000;
    let cookie =
        format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}");
    ("set-cookie".into(), cookie)
}

/// A `set-cookie` that removes the cookie `name`.
#[must_use]
pub fn clear_cookie(name: &str) -> (String, String) {
    set_cookie(name, "", 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tests::Asked;

    #[test]
    fn every_pair_is_found_in_one_field_or_several() {
        let mut asked = Asked::page("/", None);
        asked.headers.push(("cookie", "a=1; b=2;\tc=3;d; \u{a0}__Host-e=5"));
        asked.headers.push(("cookie", "a=4"));
        let names: Vec<_> =
            cookies(&asked, |_| true).into_iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(names, ["a=1", "b=2", "c=3", "\u{a0}__Host-e=5", "a=4"]);
    }

    #[test]
    fn a_cookie_under_https_is_secure_and_one_without_life_is_removed() {
        let name = cookie_name("s", true);
        let secure = "__Host-s=v; Path=/; Max-Age=1; HttpOnly; SameSite=Lax; Secure";
        assert_eq!(set_cookie(&name, "v", 1_999).1, secure);
        assert_eq!(clear_cookie("s").1, "s=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    }
}
