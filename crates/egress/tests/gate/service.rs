//! An upstream: a real server on loopback that tells what it was sent.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

type Body = Either<Full<Bytes>, Channel<Bytes, Infallible>>;

#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) target: String,
    pub(crate) method: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }
}

#[derive(Default)]
pub(crate) struct Shared {
    seen: Mutex<Vec<Seen>>,
    /// Lets a stream of events go on.
    pub(crate) go_on: Notify,
}

pub(crate) struct Service {
    pub(crate) at: SocketAddr,
    pub(crate) shared: Arc<Shared>,
    pub(crate) root: Option<CertificateDer<'static>>,
    _serving: AbortOnDropHandle<()>,
}

impl Service {
    pub(crate) async fn http() -> Self {
        Self::new(None).await
    }

    pub(crate) async fn https() -> Self {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
            .expect("a certificate");
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).expect("a key");
        let certificate = certified.cert.der().clone();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .expect("a pair");
        let mut service = Self::new(Some(TlsAcceptor::from(Arc::new(tls)))).await;
        service.root = Some(certificate);
        service
    }

    async fn new(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared::default());
        let state = Arc::clone(&shared);
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, state) = (tls.clone(), Arc::clone(&state));
                connections.spawn(async move {
                    let service = service_fn(|request| answer(request, Arc::clone(&state)));
                    let http = http1::Builder::new();
                    let _ = match tls {
                        None => http.serve_connection(TokioIo::new(stream), service).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => {
                                http.serve_connection(TokioIo::new(stream), service).await
                            }
                            Err(_) => Ok(()),
                        },
                    };
                });
            }
        });
        Self { at, shared, root: None, _serving: AbortOnDropHandle::new(serving) }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("not poisoned").clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    shared.seen.lock().expect("not poisoned").push(Seen {
        target: head.uri.to_string(),
        method: head.method.to_string(),
        fields: head.headers.iter().map(|(n, v)| (n.to_string(), text(v.as_bytes()))).collect(),
        body: text(&body),
    });
    let whole = |status: StatusCode, body: &str| {
        let mut response = Response::new(Either::Left(Full::new(Bytes::from(body.to_owned()))));
        *response.status_mut() = status;
        response
    };
    let path = head.uri.path().to_owned();
    Ok(if path.ends_with("/events") {
        let (mut send, channel) = Channel::new(1);
        tokio::spawn(async move {
            for i in 0..3 {
                let event = Bytes::from(format!("data: {i}\n\n"));
                if send.send_data(event).await.is_err() {
                    return;
                }
                shared.go_on.notified().await;
            }
        });
        let mut response = Response::new(Either::Right(channel));
        let kind = header::HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    } else if path.ends_with("/never") {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        whole(StatusCode::OK, "")
    } else if path.ends_with("/moved") {
        let mut response = whole(StatusCode::TEMPORARY_REDIRECT, "");
        let to = header::HeaderValue::from_static("http://127.0.0.1:1/elsewhere");
        response.headers_mut().insert(header::LOCATION, to);
        response
    } else if path.ends_with("/echo") {
        let mut response = whole(StatusCode::OK, "echoed");
        if let Some(credential) = head.headers.get(header::AUTHORIZATION) {
            response.headers_mut().insert("x-you-sent", credential.clone());
            response.headers_mut().insert(header::SET_COOKIE, credential.clone());
        }
        response
    } else {
        whole(StatusCode::OK, &text(&body))
    })
}
