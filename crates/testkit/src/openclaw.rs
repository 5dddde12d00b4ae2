//! OpenClaw in tests: its installation, and a client of its WebSocket protocol.
//!
//! Frames are JSON. The server speaks first (`connect.challenge`), the client's
//! first frame is `connect`; after that `req` is answered by `res` of the same id,
//! with `event` frames in between.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// A model turn on a busy machine takes seconds; a minute is a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// The prepared installation that `cargo xtask setup` makes.
#[derive(Debug, Clone)]
pub struct Installation {
    root: PathBuf,
}

impl Installation {
    /// The installation in this repository.
    ///
    /// # Errors
    /// What is missing, in words: a test prints them as the reason why it is skipped.
    pub fn find() -> Result<Self, String> {
        let root = repository().join(".cache/openclaw");
        let installation = Self { root };
        let entry = installation.app().join("node_modules/openclaw/openclaw.mjs");
        for file in [installation.node(), entry] {
            if !file.is_file() {
                return Err(format!(
                    "OpenClaw is not installed ({}): `cargo xtask setup` does it",
                    file.display()
                ));
            }
        }
        Ok(installation)
    }

    /// The directory with OpenClaw's `node_modules`.
    #[must_use]
    pub fn app(&self) -> PathBuf {
        self.root.join("app")
    }

    /// The Node program that OpenClaw runs on.
    #[must_use]
    pub fn node(&self) -> PathBuf {
        let machine = if cfg!(target_arch = "aarch64") { "linux-arm64" } else { "linux-x64" };
        self.root.join(format!("node24/node_modules/node-{machine}/bin/node"))
    }
}

/// The root of this repository.
#[must_use]
pub fn repository() -> PathBuf {
    let testkit = Path::new(env!("CARGO_MANIFEST_DIR"));
    testkit.ancestors().nth(2).unwrap_or(testkit).to_owned()
}

/// A client that has said who it is and was let in.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<TcpStream>,
    events: VecDeque<Value>,
    next_id: u64,
    hello: Value,
}

impl Client {
    /// Says hello on an open WebSocket.
    ///
    /// # Panics
    /// When OpenClaw doesn't let it in.
    pub async fn connect(socket: WebSocketStream<TcpStream>) -> Self {
        let mut client = Self { socket, events: VecDeque::new(), next_id: 0, hello: Value::Null };
        client.event("connect.challenge").await;
        client.hello = client
            .call(
                "connect",
                json!({
                    "minProtocol": 4, "maxProtocol": 4,
                    "client": { "id": "gateway-client", "version": "1.0.0", "platform": "linux", "mode": "backend" },
                    "role": "operator",
                    "scopes": ["operator.admin", "operator.read", "operator.write"],
                    "caps": [], "locale": "en", "userAgent": "tidegate-tests",
                }),
            )
            .await;
        client
    }

    /// What OpenClaw said to `connect`: its version, its methods.
    #[must_use]
    pub fn hello(&self) -> &Value {
        &self.hello
    }

    /// Calls a method and waits for its result; events that come meanwhile are kept.
    ///
    /// # Panics
    /// When it is answered by an error, or not at all.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.next_id += 1;
        let id = self.next_id.to_string();
        let request = json!({ "type": "req", "id": id, "method": method, "params": params });
        self.socket.send(Message::text(request.to_string())).await.expect("the frame is sent");
        loop {
            let frame = self.frame().await;
            if frame["type"] == "res" && frame["id"] == id.as_str() {
                assert_eq!(frame["ok"], true, "{method} was refused: {frame}");
                return frame["payload"].clone();
            }
            self.events.push_back(frame);
        }
    }

    /// Waits for the next event of this name; others are dropped.
    ///
    /// # Panics
    /// When the connection ends first.
    pub async fn event(&mut self, name: &str) -> Value {
        loop {
            let frame = match self.events.pop_front() {
                Some(frame) => frame,
                None => self.frame().await,
            };
            if frame["event"] == name {
                return frame["payload"].clone();
            }
        }
    }

    /// Sends a chat message and collects the answer as it streams in.
    ///
    /// # Panics
    /// When the run fails.
    pub async fn chat(&mut self, message: &str) -> Answer {
        let key = format!("{:032x}", rand::random::<u128>());
        let started = self
            .call(
                "chat.send",
                json!({ "sessionKey": "main", "message": message, "idempotencyKey": key }),
            )
            .await;
        let mut deltas = 0;
        loop {
            let event = self.event("chat").await;
            if event["runId"] != started["runId"] {
                continue;
            }
            match event["state"].as_str() {
                Some("delta") => deltas += 1,
                Some("final") => return Answer { text: text(&event["message"]), deltas },
                Some("error" | "aborted") => panic!("the run failed: {event}"),
                _ => {}
            }
        }
    }

    /// What was said in the main session so far, oldest first.
    pub async fn history(&mut self) -> Vec<String> {
        let history = self.call("chat.history", json!({ "sessionKey": "main" })).await;
        history["messages"].as_array().into_iter().flatten().map(text).collect()
    }

    async fn frame(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .expect("OpenClaw says something within a minute")
                .expect("the WebSocket stays open")
                .expect("the WebSocket works");
            match message {
                Message::Text(text) => {
                    return serde_json::from_str(&text).expect("frames are JSON");
                }
                Message::Close(close) => panic!("OpenClaw closed the WebSocket: {close:?}"),
                _ => {}
            }
        }
    }
}

/// A model's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// All of it.
    pub text: String,
    /// In how many pieces it came before it was complete.
    pub deltas: u32,
}

fn text(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        parts => {
            parts.as_array().into_iter().flatten().filter_map(|p| p["text"].as_str()).collect()
        }
    }
}
