//! How a client on the same machine finds the API: `control.json` in the state
//! directory.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Where a gateway's control API is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beacon {
    /// `http://127.0.0.1:8081`
    pub url: String,
    /// The gateway's process id.
    pub pid: u32,
}

impl Beacon {
    /// The file's name within the state directory.
    pub const FILE: &str = "control.json";

    /// The beacon of this process, listening on `control`. A listener on all
    /// addresses is reached by the loopback one.
    #[must_use]
    pub fn new(control: SocketAddr) -> Self {
        let ip = match control.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let reachable = SocketAddr::new(ip, control.port());
        Self { url: format!("http://{reachable}"), pid: std::process::id() }
    }

    /// Writes it into the state directory, in place of an earlier gateway's; a
    /// reader sees either, never a half.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write(&self, state_dir: &Path) -> io::Result<()> {
        let json = serde_json::to_vec(self)?;
        let new = state_dir.join(format!("{}.{}", Self::FILE, self.pid));
        std::fs::write(&new, json)?;
        std::fs::rename(&new, state_dir.join(Self::FILE))
    }

    /// Reads what the gateway of a state directory wrote. That it was written
    /// doesn't mean that the gateway still runs.
    ///
    /// # Errors
    /// When there is none, or it makes no sense.
    pub fn read(state_dir: &Path) -> io::Result<Self> {
        let json = std::fs::read(state_dir.join(Self::FILE))?;
        Ok(serde_json::from_slice(&json)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let beacon = Beacon::new("0.0.0.0:81".parse().expect("an address"));
        beacon.write(dir.path()).expect("written");
        beacon.write(dir.path()).expect("replaced");
        assert_eq!(Beacon::read(dir.path()).expect("read"), beacon);
        assert_eq!(beacon.url, "http://127.0.0.1:81");
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 1);
    }
}
