//! A user's side of the gateway: requests and WebSockets, one connection each.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::Gateway;

/// How a request says who it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignIn<'a> {
    /// `Authorization: Bearer`, with the user's own token.
    Bearer,
    /// The same, with this token.
    As(&'a str),
    /// The cookie that a browser would have.
    Cookie,
    /// Nothing.
    Nobody,
}

/// A request to a user's address.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// Whose address.
    pub user: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// `GET` unless set.
    pub method: Method,
    /// How it signs in.
    pub sign_in: SignIn<'a>,
    /// More header fields.
    pub headers: Vec<(&'static str, String)>,
}

/// What came back, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl<'a> Ask<'a> {
    /// A GET by the user themself.
    #[must_use]
    pub fn get(user: &'a str, path: &'a str) -> Self {
        Self { user, path, method: Method::GET, sign_in: SignIn::Bearer, headers: Vec::new() }
    }

    /// The same with another way to sign in.
    #[must_use]
    pub fn sign_in(mut self, sign_in: SignIn<'a>) -> Self {
        self.sign_in = sign_in;
        self
    }

    /// The same with another method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// The same with a header field.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn head(&self, gateway: &Gateway) -> http::request::Builder {
        let mut head = Request::builder()
            .method(self.method.clone())
            .uri(self.path)
            .header(header::HOST, gateway.host(self.user));
        match self.sign_in {
            SignIn::Bearer => {
                let token = gateway.token(self.user);
                head = head.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            SignIn::As(token) => {
                head = head.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            SignIn::Cookie => {
                let token = gateway.token(self.user);
                head =
                    head.header(header::COOKIE, format!("theme=dark; tidegate={token}; lang=en"));
            }
            SignIn::Nobody => {}
        }
        for (name, value) in &self.headers {
            head = head.header(*name, value);
        }
        head
    }
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it isn't.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|problem| panic!("{problem}: {} {}", self.status, self.text()))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header field as text; empty when it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Gateway {
    /// A GET by `user` at their own address.
    pub async fn get(&self, user: &str, path: &str) -> Answer {
        self.ask(Ask::get(user, path)).await
    }

    /// The JSON that `user` gets, with status 200.
    ///
    /// # Panics
    /// When the status is another one, or the body isn't JSON.
    pub async fn json(&self, user: &str, path: &str) -> Value {
        let answer = self.get(user, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()
    }

    /// Sends a request and reads the answer to its end.
    ///
    /// # Panics
    /// When the connection fails.
    pub async fn ask(&self, ask: Ask<'_>) -> Answer {
        self.try_ask(ask).await.expect("the gateway answers")
    }

    /// The same, when the gateway may not be there.
    ///
    /// # Errors
    /// When there was no connection or no answer.
    pub async fn try_ask(&self, ask: Ask<'_>) -> anyhow::Result<Answer> {
        let request = ask.head(self).body(Full::<Bytes>::default())?;
        exchange(self.address(), request).await
    }

    /// Opens a WebSocket.
    ///
    /// # Errors
    /// The answer's status where it isn't an upgrade.
    ///
    /// # Panics
    /// When the connection fails.
    pub async fn websocket(&self, ask: Ask<'_>) -> Result<WebSocketStream<TcpStream>, StatusCode> {
        let stream = TcpStream::connect(self.address()).await.expect("the gateway listens");
        let url = format!("ws://{}{}", self.host(ask.user), ask.path);
        let mut request = url.into_client_request().expect("a request");
        let built = ask.head(self).body(()).expect("a request");
        for (name, value) in built.headers() {
            request.headers_mut().insert(name, HeaderValue::clone(value));
        }
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => Err(answer.status()),
            Err(problem) => panic!("the WebSocket fails: {problem}"),
        }
    }

    /// Sends these bytes as they are; returns everything that comes back until the
    /// gateway closes the connection.
    ///
    /// # Panics
    /// When the gateway doesn't listen.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address()).await.expect("the gateway listens");
        // It may refuse before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// One request, one answer, one connection.
pub(crate) async fn exchange(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Answer> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the connection, which ends with `sender`.
    let driving = tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    driving.abort();
    Ok(Answer { status: head.status, headers: head.headers, body })
}
