//! Problem details (RFC 9457): how the gateway says no.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tidegate_types::DecisionId;

use crate::RelayBody;

/// The field that names the decision behind an answer.
pub const DECISION_HEADER: HeaderName = HeaderName::from_static("x-tidegate-decision");

/// An answer of the gateway's own: `application/problem+json`, never cached, with
/// the decision id in its head and its body. `code` is machine-readable and
/// stable, `detail` is for a person and must hold no secret.
#[must_use]
pub fn problem(
    status: StatusCode,
    code: &str,
    detail: &str,
    decision: DecisionId,
) -> Response<RelayBody> {
    let decision = decision.to_string();
    let mut response = undecided(status, code, detail, Some(&decision));
    if let Ok(value) = HeaderValue::try_from(decision) {
        response.headers_mut().insert(DECISION_HEADER, value);
    }
    response
}

/// A problem that nobody decided about: the request was never understood.
pub(crate) fn undecided(
    status: StatusCode,
    code: &str,
    detail: &str,
    decision: Option<&str>,
) -> Response<RelayBody> {
    let mut body = serde_json::json!({
        "type": format!("urn:tidegate:problem:{code}"),
        "title": status.canonical_reason().unwrap_or("Client Closed Request"),
        "status": status.as_u16(),
        "code": code,
        "detail": detail,
    });
    if let (Some(decision), Some(body)) = (decision, body.as_object_mut()) {
        body.insert("decision".to_owned(), decision.into());
    }
    let mut response = Response::new(RelayBody::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_decision_in_head_and_body() {
        let id = DecisionId::random();
        let answer = problem(StatusCode::BAD_GATEWAY, "sandbox-refused", "say \"no\"", id);
        assert_eq!(answer.headers()[DECISION_HEADER], id.to_string());
        assert_eq!(answer.status(), 502);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
    }
}
