//! Components behind `https` URLs.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, LOCATION};
use http::{HeaderValue, Request, StatusCode, Uri};
use tidegate_outgoing::{Client, SendError};

use crate::error::{Reason, SourceError};
use crate::{Credentials, MAX_COMPONENT, signature};

/// A large component over a slow line.
const WITHIN: Duration = Duration::from_secs(300);
const SIGNATURE_WITHIN: Duration = Duration::from_secs(30);
const MAX_SIGNATURE: usize = 1024;
/// Release pages send one to where the files really are.
const REDIRECTS: usize = 5;

/// The component that `url` holds.
///
/// # Cancel safety
/// Dropping it closes the connection.
pub(crate) async fn get(
    client: &Client,
    url: &Uri,
    credentials: Option<&Credentials>,
) -> Result<Bytes, SourceError> {
    follow(client, url, credentials, WITHIN, MAX_COMPONENT).await
}

/// The signature beside `url`, if there is one.
pub(crate) async fn get_signature(
    client: &Client,
    url: &Uri,
    credentials: Option<&Credentials>,
) -> Result<Option<String>, SourceError> {
    let beside = beside(url)?;
    match follow(client, &beside, credentials, SIGNATURE_WITHIN, MAX_SIGNATURE).await {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.reason == Reason::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// `.sig` goes behind the path, before a query.
fn beside(url: &Uri) -> Result<Uri, SourceError> {
    let mut parts = url.clone().into_parts();
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = format!("{}{}{query}", url.path(), signature::SUFFIX);
    parts.path_and_query = path.parse().ok();
    Uri::from_parts(parts).map_err(|_| no_url(url))
}

async fn follow(
    client: &Client,
    url: &Uri,
    credentials: Option<&Credentials>,
    within: Duration,
    most: usize,
) -> Result<Bytes, SourceError> {
    let mut at = url.clone();
    for _ in 0..=REDIRECTS {
        let mut request = Request::get(at.clone()).body(Bytes::new()).map_err(|_| no_url(&at))?;
        // Whoever is redirected to elsewhere isn't who was to be told.
        if let Some(credentials) = credentials
            && at.authority() == url.authority()
        {
            request.headers_mut().insert(AUTHORIZATION, basic(credentials)?);
        }
        let answer = client.send(request, within, most).await.map_err(|e| failed(&at, e))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer.into_body());
        }
        if !status.is_redirection() {
            return Err(refused(&at, status));
        }
        at = target(&at, answer.headers().get(LOCATION))?;
    }
    Err(SourceError::new(
        Reason::Unusable,
        format!("`{url}` redirects more than {REDIRECTS} times"),
        "name the URL where the component really is",
    ))
}

/// Where a redirect leads: never out of `https`.
fn target(from: &Uri, location: Option<&HeaderValue>) -> Result<Uri, SourceError> {
    let bad = || {
        SourceError::new(
            Reason::Unusable,
            format!("`{from}` redirects to something that is no https URL"),
            "name the URL where the component really is",
        )
    };
    let location = location.and_then(|value| value.to_str().ok()).ok_or_else(bad)?;
    let location = location.split('#').next().unwrap_or(location);
    if location.starts_with('/') && !location.starts_with("//") {
        let mut parts = from.clone().into_parts();
        parts.path_and_query = Some(location.parse().map_err(|_| bad())?);
        return Uri::from_parts(parts).map_err(|_| bad());
    }
    let uri = location.parse::<Uri>().map_err(|_| bad())?;
    let fine = uri.scheme_str() == Some("https")
        && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if fine { Ok(uri) } else { Err(bad()) }
}

fn basic(credentials: &Credentials) -> Result<HeaderValue, SourceError> {
    let pair = format!("{}:{}", credentials.username, credentials.password.reveal());
    let value = format!("Basic {}", BASE64_STANDARD.encode(pair));
    let mut value = HeaderValue::try_from(value).map_err(|_| {
        SourceError::new(Reason::Forbidden, "the credentials can't be sent", "check them")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn failed(url: &Uri, error: SendError) -> SourceError {
    match error {
        SendError::TooLarge(most) => SourceError::new(
            Reason::Unusable,
            format!("`{url}` holds more than {most} bytes"),
            "name the component itself",
        ),
        SendError::NotAllowed(_) => no_url(url),
        SendError::TimedOut(_) | SendError::Unreachable(_) => {
            SourceError::unreachable(format!("`{url}` can't be fetched: {error}"))
        }
    }
}

fn refused(url: &Uri, status: StatusCode) -> SourceError {
    let what = format!("`{url}` is answered with {}", status.as_u16());
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            SourceError::new(Reason::NotFound, what, "check the URL in `source`")
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            SourceError::new(Reason::Forbidden, what, "check the plugin's `credentials`")
        }
        StatusCode::TOO_MANY_REQUESTS => SourceError::unreachable(what),
        _ if status.is_server_error() => SourceError::unreachable(what),
        _ => SourceError::new(Reason::Unusable, what, "check the URL in `source`"),
    }
}

fn no_url(url: &Uri) -> SourceError {
    let what = format!("`{url}` is not an https URL");
    SourceError::new(Reason::Unusable, what, "check the URL in `source`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_never_leads_out_of_https() {
        let from: Uri = "https://example.org/a/b.wasm".parse().expect("a URL");
        let leads = |to: &'static str| {
            target(&from, Some(&HeaderValue::from_static(to))).ok().map(|uri| uri.to_string())
        };
        assert_eq!(
            leads("https://cdn.example.org/x?y#z").as_deref(),
            Some("https://cdn.example.org/x?y")
        );
        assert_eq!(leads("/c").as_deref(), Some("https://example.org/c"));
        for to in ["http://example.org/c", "//example.org/c", "c", "", "https://u:p@example.org/"] {
            assert_eq!(leads(to), None, "{to}");
        }
        assert!(target(&from, None).is_err());
    }

    #[test]
    fn the_signature_lies_beside_the_component() {
        let check = |url: &str, expected: &str| {
            let found = beside(&url.parse().expect("a URL")).expect("a URL");
            assert_eq!(found.to_string(), expected);
        };
        check("https://example.org/a.wasm", "https://example.org/a.wasm.sig");
        check("https://example.org/a.wasm?v=1", "https://example.org/a.wasm.sig?v=1");
    }
}
