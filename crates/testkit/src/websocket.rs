//! A conforming WebSocket server that sends back what it gets.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

/// A running echo server; ends when it is dropped. Agrees to the first
/// sub-protocol offered. A text message `close CODE` makes it close with that
/// code; `bye` makes it drop the connection.
#[derive(Debug)]
pub struct EchoWebSocket {
    /// Where it listens.
    pub address: SocketAddr,
    ended: Arc<watch::Sender<Vec<Ended>>>,
    _tasks: JoinSet<()>,
}

/// How a connection to the server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With a close frame of this code; 1005 stands for none.
    Close(u16),
    /// Without a close frame.
    Broken,
}

impl EchoWebSocket {
    /// Starts one on a free loopback port.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let ended = Arc::new(watch::Sender::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let told = Arc::clone(&ended);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let told = Arc::clone(&told);
                connections.spawn(async move {
                    let how = echo(stream).await;
                    told.send_modify(|ended| ended.push(how));
                });
            }
        });
        Self { address, ended, _tasks: tasks }
    }

    /// Waits until `n` connections have ended, and says how.
    pub async fn ended(&self, n: usize) -> Vec<Ended> {
        let mut ended = self.ended.subscribe();
        match ended.wait_for(|ended| ended.len() >= n).await {
            Ok(ended) => ended.clone(),
            Err(_) => Vec::new(),
        }
    }
}

async fn echo(stream: TcpStream) -> Ended {
    let _ = stream.set_nodelay(true);
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let accepted = accept_hdr_async_with_config(stream, agree, Some(config)).await;
    let Ok(mut socket) = accepted else { return Ended::Broken };
    while let Some(message) = socket.next().await {
        let message = match message {
            Ok(message) => message,
            Err(Error::ConnectionClosed) => break,
            Err(_) => return Ended::Broken,
        };
        match &message {
            Message::Close(frame) => {
                let code = frame.as_ref().map_or(1005, |frame| frame.code.into());
                // Reading on completes the closing handshake.
                while let Some(Ok(_)) = socket.next().await {}
                return Ended::Close(code);
            }
            Message::Text(text) if text.starts_with("close ") => {
                let code = text.get(6..).and_then(|code| code.parse().ok()).unwrap_or(1000);
                let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame {
                    code: code.into(),
                    reason: "as asked".into(),
                };
                let _ = socket.close(Some(frame)).await;
            }
            Message::Text(text) if text.as_str() == "bye" => return Ended::Broken,
            Message::Text(_) | Message::Binary(_) => {
                if socket.send(message).await.is_err() {
                    return Ended::Broken;
                }
            }
            // Pings are answered by reading on.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
    Ended::Broken
}

#[expect(clippy::result_large_err, reason = "the shape that tungstenite asks for")]
fn agree(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get("sec-websocket-protocol");
    let first = offered
        .and_then(|offered| offered.to_str().ok())
        .and_then(|offered| offered.split(',').next())
        .and_then(|first| HeaderValue::from_str(first.trim()).ok());
    if let Some(first) = first {
        response.headers_mut().insert("sec-websocket-protocol", first);
    }
    Ok(response)
}
