//! A client that sends exactly the bytes it is given.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// So long at most is an answer waited for: only a hang takes that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection without any idea of HTTP.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    read: Vec<u8>,
}

impl RawClient {
    /// Connects.
    ///
    /// # Errors
    /// The system's.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new() })
    }

    /// Sends `bytes`.
    ///
    /// # Errors
    /// The system's.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Sends `bytes` one by one, each in a packet of its own as far as the system
    /// allows. Stops quietly once the other side has closed.
    pub async fn send_slowly(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            if self.stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// The system's.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Reads until `text` has come, and returns all up to its end.
    ///
    /// # Errors
    /// `UnexpectedEof` when the other side closes before, `TimedOut` when nothing
    /// comes.
    pub async fn until(&mut self, text: &str) -> io::Result<String> {
        loop {
            let found = self.read.windows(text.len()).position(|w| w == text.as_bytes());
            if let Some(at) = found {
                let rest = self.read.split_off(at + text.len());
                let got = std::mem::replace(&mut self.read, rest);
                return Ok(String::from_utf8_lossy(&got).into_owned());
            }
            if self.more().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads until the other side closes.
    ///
    /// # Errors
    /// `TimedOut` when it doesn't; a reset counts as closing.
    pub async fn rest(&mut self) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&self.rest_bytes().await?).into_owned())
    }

    /// As [`rest`](Self::rest), for what is no text.
    ///
    /// # Errors
    /// As there.
    pub async fn rest_bytes(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.more().await {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error),
            }
        }
        Ok(std::mem::take(&mut self.read))
    }

    async fn more(&mut self) -> io::Result<usize> {
        timeout(PATIENCE, self.stream.read_buf(&mut self.read))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}
