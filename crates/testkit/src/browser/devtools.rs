//! The wire: JSON over one WebSocket, answers matched to calls by number.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// A connection to a browser's DevTools.
#[derive(Debug)]
pub(super) struct DevTools {
    socket: WebSocketStream<TcpStream>,
    next_id: u64,
}

impl DevTools {
    /// Connects to `ws://HOST:PORT/…`.
    pub(super) async fn connect(url: &str) -> Self {
        let authority = url
            .strip_prefix("ws://")
            .and_then(|rest| rest.split('/').next())
            .unwrap_or_else(|| panic!("`{url}` is no WebSocket address"));
        let stream = TcpStream::connect(authority).await.expect("DevTools listens");
        // Screenshots come as one message.
        let limits = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let (socket, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(limits))
            .await
            .expect("DevTools speaks WebSocket");
        Self { socket, next_id: 0 }
    }

    /// Calls a method that can't fail.
    pub(super) async fn call(
        &mut self,
        session: Option<&str>,
        method: &str,
        params: Value,
    ) -> Value {
        self.try_call(session, method, params)
            .await
            .unwrap_or_else(|problem| panic!("{method}: {problem}"))
    }

    /// Calls a method; the browser's words when it fails.
    pub(super) async fn try_call(
        &mut self,
        session: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<Value, String> {
        self.next_id += 1;
        let mut call = json!({ "id": self.next_id, "method": method, "params": params });
        if let Some(session) = session {
            call["sessionId"] = session.into();
        }
        self.socket.send(Message::text(call.to_string())).await.map_err(|e| e.to_string())?;
        loop {
            let message = self.socket.next().await.ok_or("the browser is gone")?;
            let Message::Text(text) = message.map_err(|e| e.to_string())? else { continue };
            let answer: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
            if answer["id"] != self.next_id {
                // An event, or the answer to a call that was given up.
                continue;
            }
            return match answer.get("error") {
                Some(error) => Err(error.to_string()),
                None => Ok(answer["result"].clone()),
            };
        }
    }
}

/// The bytes behind standard base64, as DevTools sends pictures.
pub(super) fn decode_base64(text: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for value in text.bytes().filter_map(digit) {
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::decode_base64;

    #[test]
    fn base64_is_decoded_with_and_without_padding() {
        for (text, bytes) in [("aGVsbG8=", "hello"), ("aGk=", "hi"), ("YWJj", "abc"), ("", "")] {
            assert_eq!(decode_base64(text), bytes.as_bytes());
        }
    }
}
