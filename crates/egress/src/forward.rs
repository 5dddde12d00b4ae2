//! One request's way out and back.

use std::sync::Arc;
use std::time::Instant;

use http::uri::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tidegate_types::fault::chain;
use tidegate_types::meter::Counter;
use tidegate_types::{SandboxKey, UpstreamName};
use tokio::time::timeout;

use crate::body::{Count, GateBody, Passing};
use crate::client::Pool;
use crate::destination;
use crate::fields;
use crate::gate::{GateConfig, Table};
use crate::meters::UpstreamMeters;
use crate::problem::{Kind, problem};
use crate::upstream::{Target, host_name};

/// Bytes towards the upstream.
pub(crate) struct Sent(Arc<UpstreamMeters>);
/// Bytes towards the sandbox.
struct Received(Arc<UpstreamMeters>);

impl Count for Sent {
    fn counter(&self) -> &Counter {
        &self.0.bytes_sent
    }
}

impl Count for Received {
    fn counter(&self) -> &Counter {
        &self.0.bytes_received
    }
}

/// Whose requests these are, and what they may reach.
pub(crate) struct Caller {
    pub(crate) who: SandboxKey,
    pub(crate) allowed: Vec<UpstreamName>,
    pub(crate) pool: Pool,
}

impl Caller {
    /// The host names that work inside, for whoever tries another.
    fn reachable(&self, table: &Table) -> Vec<String> {
        self.allowed.iter().filter(|name| table.contains_key(*name)).map(host_name).collect()
    }
}

/// Passes `request` on to the upstream it means, if its sandbox may call that one.
///
/// # Cancel safety
/// Dropping it closes the connection to the upstream.
pub(crate) async fn forward(
    request: Request<Incoming>,
    caller: &Caller,
    table: &Table,
    config: &GateConfig,
) -> Response<GateBody> {
    if request.method() == Method::CONNECT || request.headers().contains_key(header::UPGRADE) {
        let detail = "Only requests are passed on to upstreams, not tunnels or WebSockets.";
        return problem(Kind::Method, detail, &[]);
    }
    if echoes(request.method()) {
        let detail = "TRACE is not passed on: its answer would show what the gateway adds.";
        return problem(Kind::Method, detail, &[]);
    }
    let name = match destination::upstream(request.uri(), request.headers()) {
        Ok(name) => name,
        Err(destination::Refused::Unnamed) => return not_allowed(caller, table),
        Err(refused) => return bad_request(refused),
    };
    let allowed = caller.allowed.contains(&name);
    let Some(target) = table.get(&name).filter(|_| allowed) else {
        return not_allowed(caller, table);
    };
    let request = match outward(request, target, config) {
        Ok(request) => request,
        Err(refused) => return bad_request(refused),
    };
    let meters = &target.meters;
    meters.requests.add(1);
    let began = Instant::now();
    match timeout(config.head_timeout, caller.pool.request(request)).await {
        Ok(Ok(response)) => {
            meters.head_time.observe(began.elapsed());
            inward(response, target, config)
        }
        Ok(Err(error)) => {
            meters.failures.add(1);
            // The error names addresses of the operator's network: for the log only.
            tracing::warn!(sandbox = %caller.who, upstream = %name, error = %chain(&error), "an upstream did not answer");
            let detail = format!("The upstream `{name}` cannot be reached or broke off.");
            problem(Kind::Unreachable, &detail, &[])
        }
        Err(_) => {
            meters.failures.add(1);
            tracing::warn!(sandbox = %caller.who, upstream = %name, "an upstream did not answer in time");
            let seconds = config.head_timeout.as_secs();
            let detail = format!("The upstream `{name}` did not answer within {seconds} s.");
            problem(Kind::TimedOut, &detail, &[])
        }
    }
}

/// Whether the answer is the request itself, the gateway's credential included:
/// RFC 9110 §9.3.8, and the name that IIS has for it.
fn echoes(method: &Method) -> bool {
    ["TRACE", "TRACK"].iter().any(|name| method.as_str().eq_ignore_ascii_case(name))
}

fn not_allowed(caller: &Caller, table: &Table) -> Response<GateBody> {
    let reachable = caller.reachable(table);
    let detail = if reachable.is_empty() {
        "This sandbox may call no upstreams.".to_owned()
    } else {
        format!("This sandbox may call http://{}/.", reachable.join("/, http://"))
    };
    problem(Kind::NotAllowed, &detail, &reachable)
}

fn bad_request(refused: destination::Refused) -> Response<GateBody> {
    problem(Kind::BadRequest, &format!("The request is refused: {}.", refused.as_str()), &[])
}

fn outward(
    request: Request<Incoming>,
    target: &Target,
    config: &GateConfig,
) -> Result<Request<Passing<Sent>>, destination::Refused> {
    let (mut head, body) = request.into_parts();
    let mut uri = Parts::default();
    uri.scheme = Some(target.scheme.clone());
    uri.authority = Some(target.authority.clone());
    uri.path_and_query = Some(destination::path(&head.uri, &target.base_path)?);
    head.uri = Uri::from_parts(uri).map_err(|_| destination::Refused::Form)?;
    head.version = Version::HTTP_11;
    // Nothing of the inner connection goes along.
    head.extensions.clear();
    let had_length = head.headers.contains_key(header::CONTENT_LENGTH);
    fields::outward(&mut head.headers, target);
    // Framing is made from what was understood, not from what was sent. An empty
    // body has to be said for the servers that ask for a length.
    if let (true, Some(length)) = (had_length, body.size_hint().exact()) {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let body = Passing::new(body, config.idle_timeout, Sent(Arc::clone(&target.meters)));
    Ok(Request::from_parts(head, body))
}

fn inward(
    response: Response<Incoming>,
    target: &Target,
    config: &GateConfig,
) -> Response<GateBody> {
    let (mut head, body) = response.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        target.meters.failures.add(1);
        let detail = format!("The upstream `{}` switched protocols, unasked.", target.name);
        return problem(Kind::Unreachable, &detail, &[]);
    }
    if head.status.as_u16() >= 400 {
        target.meters.error_answers.add(1);
    }
    head.extensions.clear();
    head.version = Version::HTTP_11;
    fields::inward(&mut head.headers, target);
    let body = Passing::new(body, config.idle_timeout, Received(Arc::clone(&target.meters)));
    Response::from_parts(head, body.boxed_unsync())
}
