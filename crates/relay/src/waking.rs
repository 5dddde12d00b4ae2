//! The page that a browser shows while a sandbox wakes.

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use tidegate_types::DecisionId;

use crate::{DECISION_HEADER, RelayBody};

/// Small enough for one packet; no script, so that it works under any policy.
const PAGE: &str = include_str!("waking.html");

/// A page that says the sandbox is waking and reloads itself every two seconds.
///
/// Always 503: with 200 an application's service worker would keep it as the
/// application's own page.
#[must_use]
pub fn waking_page(decision: DecisionId) -> Response<RelayBody> {
    let mut response = Response::new(RelayBody::from(PAGE));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
    );
    if let Ok(value) = HeaderValue::try_from(decision.to_string()) {
        headers.insert(DECISION_HEADER, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waking_page_is_never_a_success_and_reloads_itself() {
        let page = waking_page(DecisionId::random());
        assert_eq!(page.status(), 503);
        assert_eq!(page.headers()[CACHE_CONTROL], "no-store");
        assert!(PAGE.contains("http-equiv=\"refresh\""));
        assert!(PAGE.contains("role=\"status\""));
    }
}
