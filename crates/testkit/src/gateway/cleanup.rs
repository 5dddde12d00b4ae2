//! Leaving nothing behind, also when a test or the gateway failed.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Sends a signal by name. Best effort: the process may be gone.
pub(crate) fn signal(pid: Option<u32>, name: &str) {
    let Some(pid) = pid else { return };
    let _ = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .stderr(Stdio::null())
        .status();
}

/// Processes with `marker` in their environment and `command` in their command line.
pub(super) fn processes(marker: &str, command: &str) -> Vec<u32> {
    matching(|pid| reads(pid, "environ", marker) && reads(pid, "cmdline", command))
}

/// Destroys every sandbox through the control API. Blocking, and best effort: it
/// runs while a test ends, for whatever reason.
pub(super) fn destroy_all(control: SocketAddr, state_dir: &Path) {
    let Ok(token) = fs::read_to_string(state_dir.join("control.token")) else { return };
    let token = token.trim();
    let Some(listing) = call(control, "GET", "/v1/sandboxes", token) else { return };
    let Ok(listing) = serde_json::from_str::<Value>(&listing) else { return };
    for sandbox in listing["sandboxes"].as_array().into_iter().flatten() {
        let words = [&sandbox["tenant"], &sandbox["name"]].map(Value::as_str);
        let ([Some(tenant), Some(name)], Some(life)) = (words, sandbox["incarnation"].as_u64())
        else {
            continue;
        };
        let path = format!("/v1/sandboxes/{tenant}/{name}?incarnation={life}");
        call(control, "DELETE", &path, token);
    }
}

/// Kills what is left of the sandboxes: the marked processes, and whatever names
/// the state directory (keepers do, so that a gateway finds them).
pub(super) fn kill_left(marker: &str, state_dir: &Path) {
    let state_dir = state_dir.to_string_lossy();
    let left = matching(|pid| reads(pid, "environ", marker) || reads(pid, "cmdline", &state_dir));
    for pid in left {
        signal(Some(pid), "KILL");
    }
}

/// Processes whose command line names `state_dir`: gateways and keepers.
pub(crate) fn processes_of(state_dir: &Path) -> Vec<u32> {
    let state_dir = state_dir.to_string_lossy();
    matching(|pid| reads(pid, "cmdline", &state_dir))
}

fn matching(wanted: impl Fn(u32) -> bool) -> Vec<u32> {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&pid| pid != own && wanted(pid))
        .collect()
}

fn reads(pid: u32, file: &str, needle: &str) -> bool {
    let Ok(bytes) = fs::read(format!("/proc/{pid}/{file}")) else { return false };
    let words = String::from_utf8_lossy(&bytes).replace('\0', " ");
    words.contains(needle)
}

fn call(address: SocketAddr, method: &str, path: &str, token: &str) -> Option<String> {
    let mut connection = TcpStream::connect(address).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let request = format!(
        "{method} {path} HTTP/1.0\r\nhost: {address}\r\nauthorization: Bearer {token}\r\ncontent-length: 0\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}
