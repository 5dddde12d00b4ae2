//! Every way in which a request is refused before it reaches its sandbox, and the
//! one table that says what the client gets for each.

use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tidegate_relay::{BadRequest, RelayBody, RelayError, problem, waking_page};
use tidegate_sandbox::WakeError;
use tidegate_types::{DecisionId, Denial};

use crate::usage::OverLimit;

/// Why a request is not relayed.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It makes no sense.
    BadRequest(BadRequest),
    /// A plugin said no.
    Denied(Denial),
    /// No authenticator knows the credential, or there is none.
    Unauthenticated,
    /// It rests on a cookie and comes from a foreign page.
    ForeignOrigin,
    /// More is used than policy allows.
    OverLimit(Box<OverLimit>),
    /// No resolver knows a sandbox for it.
    Unplaced,
    /// A plugin could not decide. The policy host has logged which, and why.
    Policy,
    /// What the policy host was given and what the request path has differ: the
    /// template was removed between the decision and its use.
    TemplateGone,
    /// The sandbox did not wake.
    Wake(WakeError),
    /// The placement says that a sleeping sandbox stays asleep.
    Asleep,
    /// The sandbox wakes, and a person is looking: they get a page.
    Waking,
    /// It was relayed, in vain.
    Relay(RelayError),
}

/// What the client sees.
struct Row {
    status: StatusCode,
    code: &'static str,
    detail: &'static str,
}

impl Refusal {
    /// The table. Details are for clients: they name nothing of the inside.
    fn row(&self) -> Row {
        let (status, code, detail) = match self {
            // These three make their answer themselves.
            Self::BadRequest(_) => (400, "bad-request", "The request is malformed."),
            Self::Relay(_) => (502, "sandbox", "The application did not answer."),
            Self::Waking => (503, "waking", "The sandbox is waking."),

            Self::Denied(_) => (403, "denied", "The request was denied."),
            Self::Unauthenticated => {
                (401, "unauthenticated", "Sign in, or send a token: nobody knows who is asking.")
            }
            Self::ForeignOrigin => (
                403,
                "foreign-origin",
                "A request that is signed in by cookie must come from a page of this very origin.",
            ),
            // Says which limit itself.
            Self::OverLimit(_) => (429, "quota-exceeded", "A limit is reached."),
            Self::Unplaced => (404, "no-sandbox", "There is no sandbox for this request."),
            Self::Policy | Self::TemplateGone => {
                (503, "policy-failed", "The request could not be decided.")
            }
            Self::Wake(WakeError::Failed { .. }) => {
                (502, "sandbox-start-failed", "The application in the sandbox did not start.")
            }
            Self::Wake(WakeError::BackOff { .. }) => (
                503,
                "sandbox-back-off",
                "The application did not start earlier; it will be tried again shortly.",
            ),
            Self::Wake(WakeError::ShuttingDown) => {
                (503, "shutting-down", "The gateway is restarting.")
            }
            Self::Asleep => {
                (503, "asleep", "The sandbox sleeps, and this request may not wake it.")
            }
        };
        Row {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code,
            detail,
        }
    }

    /// Stable name of a small set, for metrics: what plugins call their refusals
    /// is theirs, and unbounded.
    pub(crate) fn reason(&self) -> &'static str {
        self.row().code
    }

    /// Stable name for clients and logs.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Denied(denial) => &denial.code,
            Self::BadRequest(bad) => bad.code(),
            Self::Relay(error) => error.code(),
            _ => self.row().code,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Wake(error) => Some(error.retry_after().unwrap_or(Duration::from_secs(1))),
            Self::Asleep => Some(Duration::from_secs(5)),
            Self::OverLimit(over) => over.exceeded.retry_after,
            _ => None,
        }
    }

    /// The answer to a client that asked with `asked`.
    pub(crate) fn answer(&self, asked: &Asked, decision: DecisionId) -> Response<RelayBody> {
        let mut response = match self {
            Self::BadRequest(bad) => return bad.answer(decision),
            Self::Relay(error) => return error.answer(decision),
            Self::Waking => return waking_page(decision),
            Self::Denied(denial) => denied(denial, asked, decision),
            Self::OverLimit(over) => {
                let Row { status, code, .. } = self.row();
                let mut response = said(status, code, &over.detail(), asked, decision);
                response.headers_mut().extend(over.fields.iter().cloned());
                response
            }
            _ => {
                let Row { status, code, detail } = self.row();
                said(status, code, detail, asked, decision)
            }
        };
        if matches!(self, Self::Unauthenticated) {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(after) = self.retry_after() {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

/// How the client asked: a person in a browser is answered with a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// A browser opens this address in a tab.
    pub(crate) navigation: bool,
}

impl Asked {
    pub(crate) fn of(method: &Method, headers: &HeaderMap, websocket: bool) -> Self {
        let mode = headers.get("sec-fetch-mode");
        let wants_html = || {
            headers.get(ACCEPT).is_some_and(|accept| {
                accept.to_str().is_ok_and(|accept| accept.contains("text/html"))
            })
        };
        let navigation = *method == Method::GET
            && !websocket
            && mode.map_or_else(wants_html, |mode| mode == "navigate");
        Self { navigation }
    }
}

fn denied(denial: &Denial, asked: &Asked, decision: DecisionId) -> Response<RelayBody> {
    let mut response = said(denial.status, &denial.code, &denial.message, asked, decision);
    for (name, value) in &denial.headers {
        if *name == LOCATION {
            response.headers_mut().insert(name, value.clone());
        } else {
            response.headers_mut().append(name, value.clone());
        }
    }
    response
}

fn said(
    status: StatusCode,
    code: &str,
    detail: &str,
    asked: &Asked,
    decision: DecisionId,
) -> Response<RelayBody> {
    let mut response = problem(status, code, detail, decision);
    if asked.navigation && !status.is_redirection() {
        let title = status.canonical_reason().unwrap_or("Refused");
        let page = PAGE
            .replace("{title}", &escaped(title))
            .replace("{detail}", &escaped(detail))
            .replace("{code}", &escaped(code))
            .replace("{decision}", &decision.to_string());
        *response.body_mut() = RelayBody::from(page);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    }
    response
}

const PAGE: &str = include_str!("refusal.html");

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
