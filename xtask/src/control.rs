//! The few calls of the control API that `up` makes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Longer than a sandbox may take to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the control API is, with the right to use it.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    address: SocketAddr,
    token: String,
}

impl Control {
    /// The control API of the gateway whose state is in `state_dir`.
    pub(crate) fn of(state_dir: &Path, address: SocketAddr) -> Result<Self> {
        let file = state_dir.join("control.token");
        let token = std::fs::read_to_string(&file)
            .with_context(|| format!("reading {}", file.display()))?;
        Ok(Self { address, token: token.trim().to_owned() })
    }

    /// Stops every sandbox, all at once; their files stay.
    pub(crate) fn stop_all(&self) -> Result<()> {
        let (status, listing) = call(self.address, "GET", "/v1/sandboxes", Some(&self.token))?;
        anyhow::ensure!(status == 200, "the gateway does not list its sandboxes: {status}");
        let listing: Value = serde_json::from_str(&listing).context("reading the listing")?;
        let paths = paths(&listing);
        std::thread::scope(|scope| {
            let stopping: Vec<_> =
                paths.iter().map(|path| scope.spawn(move || self.stop(path))).collect();
            stopping.into_iter().try_for_each(|stop| match stop.join() {
                Ok(outcome) => outcome,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }

    fn stop(&self, path: &str) -> Result<()> {
        let (status, _) = call(self.address, "POST", &format!("{path}/stop"), Some(&self.token))?;
        anyhow::ensure!((200..300).contains(&status), "stopping {path} was answered by {status}");
        Ok(())
    }
}

/// Whether the gateway behind `address` says that it is ready.
pub(crate) fn is_ready(address: SocketAddr) -> bool {
    matches!(call(address, "GET", "/readyz", None), Ok((200, _)))
}

/// The paths of the sandboxes in a listing.
fn paths(listing: &Value) -> Vec<String> {
    listing["sandboxes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|sandbox| {
            let tenant = sandbox.get("tenant")?.as_str()?;
            let name = sandbox.get("name")?.as_str()?;
            Some(format!("/v1/sandboxes/{tenant}/{name}"))
        })
        .collect()
}

/// One request, one answer, one connection.
fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
) -> Result<(u16, String)> {
    let mut connection = TcpStream::connect(address).context("connecting to the control API")?;
    connection.set_read_timeout(Some(PATIENCE))?;
    // HTTP/1.0: the answer ends with the connection.
    let mut request =
        format!("{method} {path} HTTP/1.0\r\nhost: {address}\r\ncontent-length: 0\r\n");
    if let Some(token) = token {
        request.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    request.push_str("\r\n");
    connection.write_all(request.as_bytes())?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).context("reading the control API's answer")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no head")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .context("the answer has no status")?;
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_sandbox_of_a_listing_has_a_path() {
        let listing = json!({ "sandboxes": [{ "tenant": "demo", "name": "user-alice" }] });
        assert_eq!(paths(&listing), ["/v1/sandboxes/demo/user-alice"]);
    }
}
