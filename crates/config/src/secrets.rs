//! Reading secrets from where the operator put them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tidegate_types::{Secret, SecretName};

use crate::{Config, SecretSource};

/// Bytes a secret may have; a larger file is surely the wrong one.
const MAX_BYTES: u64 = 64 * 1024;
/// How long a command may take to print its secret.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a secret could not be read. Names the secret and its source, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("secret `{name}` cannot be read from {source_text}: {reason}")]
pub struct SecretError {
    /// Which secret.
    pub name: SecretName,
    /// Where it should be: ``environment variable `KEY` ``.
    pub source_text: String,
    /// Why not.
    pub reason: String,
}

impl Config {
    /// Reads all secrets: environment, files, and commands (each may take 10 s;
    /// blocks for that long). What is read is at most 64 KiB of UTF-8 and not
    /// empty; one line end at the end is removed.
    ///
    /// # Errors
    /// Every secret that cannot be read, at once.
    pub fn read_secrets(&self) -> Result<BTreeMap<SecretName, Secret>, Vec<SecretError>> {
        self.read_secrets_with(|name| std::env::var_os(name))
    }

    /// [`read_secrets`](Self::read_secrets) with an environment of the caller's.
    ///
    /// # Errors
    /// As [`read_secrets`](Self::read_secrets).
    pub fn read_secrets_with(
        &self,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<BTreeMap<SecretName, Secret>, Vec<SecretError>> {
        let mut read = BTreeMap::new();
        let mut errors = Vec::new();
        for (name, source) in &self.secrets {
            match source.read(&env) {
                Ok(secret) => {
                    read.insert(name.clone(), secret);
                }
                Err(reason) => errors.push(SecretError {
                    name: name.clone(),
                    source_text: source.to_string(),
                    reason,
                }),
            }
        }
        if errors.is_empty() { Ok(read) } else { Err(errors) }
    }
}

impl SecretSource {
    fn read(&self, env: impl Fn(&str) -> Option<OsString>) -> Result<Secret, String> {
        let bytes = match self {
            Self::Env(variable) => env(variable).ok_or("it is not set")?.into_encoded_bytes(),
            Self::File(path) => {
                let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
                read_bounded(file)?
            }
            Self::Command(words) => run(words)?,
        };
        let mut text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        if text.is_empty() {
            return Err("it is empty".into());
        }
        Ok(Secret::new(text))
    }
}

impl std::fmt::Display for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(variable) => write!(f, "environment variable `{variable}`"),
            Self::File(path) => write!(f, "file `{}`", path.display()),
            // The arguments may be nobody's business.
            Self::Command(words) => {
                write!(f, "command `{}`", words.first().map_or("", String::as_str))
            }
        }
    }
}

fn read_bounded(from: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("it has more than {MAX_BYTES} bytes"));
    }
    Ok(bytes)
}

fn run(words: &[String]) -> Result<Vec<u8>, String> {
    let (program, arguments) = words.split_first().ok_or("it is empty")?;
    let started = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    let stdout = child.stdout.take().ok_or("it has no output")?;
    let (done, printed) = mpsc::channel();
    // Ends when the command closes its output, or with the process.
    std::thread::spawn(move || {
        let _ = done.send(read_bounded(stdout));
    });
    let ended = printed
        .recv_timeout(COMMAND_TIMEOUT)
        .ok()
        .and_then(|bytes| Some((bytes, wait_until(&mut child, started + COMMAND_TIMEOUT)?)));
    let Some((bytes, status)) = ended else {
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("it took longer than {COMMAND_TIMEOUT:?}"));
    };
    let (bytes, status) = (bytes?, status?);
    if !status.success() {
        return Err(format!("it ended with {status}"));
    }
    Ok(bytes)
}

/// The standard library has no wait with a time-out, and a command that closed
/// its output ends at once nearly always: so it is asked every few milliseconds.
fn wait_until(child: &mut Child, deadline: Instant) -> Option<Result<ExitStatus, String>> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(Ok(status)),
            Ok(None) if Instant::now() >= deadline => return None,
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(error) => return Some(Err(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &SecretSource) -> Result<String, String> {
        source
            .read(|name| (name == "KEY").then(|| OsString::from("k1")))
            .map(|secret| secret.reveal().to_owned())
    }

    fn command(words: &[&str]) -> SecretSource {
        SecretSource::Command(words.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_secret_is_read_from_the_environment_a_file_or_a_command() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        std::fs::write(&path, "k2\n").expect("written");
        assert_eq!(read(&SecretSource::Env("KEY".into())), Ok("k1".into()));
        assert_eq!(read(&SecretSource::File(path)), Ok("k2".into()));
        assert_eq!(read(&command(&["printf", "k3\n\n"])), Ok("k3\n".into()));
    }

    #[test]
    fn a_secret_that_cannot_be_read_says_why() {
        let why = |source: &SecretSource| read(source).expect_err("refused");
        assert_eq!(why(&SecretSource::Env("NONE".into())), "it is not set");
        assert_eq!(why(&command(&["true"])), "it is empty");
        assert_eq!(why(&command(&["false"])), "it ended with exit status: 1");
        assert_eq!(why(&command(&["printf", "\\377"])), "it is not UTF-8");
        assert_eq!(why(&command(&["cat", "/dev/zero"])), "it has more than 65536 bytes");
        assert!(why(&SecretSource::File("/nonexistent".into())).contains("No such file"));
    }
}
