//! Asking an application whether it is ready.
//!
//! What it answers is hostile input: at most a status line of it is read.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tidegate_types::template::Probe;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::driver::{Dialled, Driver, DriverError, SandboxId};

/// Asked again after this long at first, and twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// An application that accepts and says nothing for this long is asked again.
const ANSWER: Duration = Duration::from_secs(5);
/// More than any status line that is meant well.
const STATUS_LINE: usize = 512;

/// Asks until it is ready; `last` says what it answered before that.
///
/// # Errors
/// What asking again won't cure.
pub(super) async fn wait_until_ready(
    driver: &dyn Driver,
    id: &SandboxId,
    from: IpAddr,
    probe: &Probe,
    last: &mut String,
) -> Result<(), DriverError> {
    let mut pause = FIRST_PAUSE;
    loop {
        match ask(driver, id, from, probe).await {
            Ok(()) => return Ok(()),
            Err(Unready::NotYet(why)) => *last = why,
            Err(Unready::Never(error)) => return Err(error),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

enum Unready {
    NotYet(String),
    Never(DriverError),
}

async fn ask(
    driver: &dyn Driver,
    id: &SandboxId,
    from: IpAddr,
    probe: &Probe,
) -> Result<(), Unready> {
    let (Probe::Tcp(port) | Probe::Http { port, .. }) = probe;
    let dialled = match timeout(ANSWER, driver.dial(id, *port, from)).await {
        Ok(Ok(dialled)) => dialled,
        Ok(Err(error @ (DriverError::Absent(_) | DriverError::Stale { .. }))) => {
            return Err(Unready::Never(error));
        }
        Ok(Err(error)) => return Err(Unready::NotYet(error.to_string())),
        Err(_) => return Err(Unready::NotYet(format!("port {port} does not accept"))),
    };
    let Probe::Http { path, .. } = probe else { return Ok(()) };
    let answered = timeout(ANSWER, async {
        match dialled {
            Dialled::Tcp(mut stream) => status(&mut stream, path).await,
            Dialled::Unix(mut stream) => status(&mut stream, path).await,
        }
    });
    match answered.await {
        Ok(Ok(200..=399)) => Ok(()),
        Ok(Ok(status)) => Err(Unready::NotYet(format!("`GET {path}` answers {status}"))),
        Ok(Err(error)) => Err(Unready::NotYet(format!("`GET {path}`: {error}"))),
        Err(_) => Err(Unready::NotYet(format!("`GET {path}` is not answered"))),
    }
}

/// The status code of the answer to `GET path`.
async fn status(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) -> io::Result<u16> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: tidegate-probe\r\n\
         accept: */*\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut line = Vec::with_capacity(STATUS_LINE);
    while !line.contains(&b'\n') && line.len() < STATUS_LINE {
        let mut chunk = [0; 64];
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            break;
        }
        line.extend_from_slice(chunk.get(..read).unwrap_or_default());
    }
    parse_status(&line)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn parse_status(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line.split(|b| *b == b'\n').next()?).ok()?;
    let mut words = line.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    let code = words.next()?.trim_end();
    let digits = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
    if digits { code.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_line_of_http_1_counts() {
        let check = |line: &str, expected| assert_eq!(parse_status(line.as_bytes()), expected);
        check("HTTP/1.1 200 OK\r\nserver: x", Some(200));
        check("HTTP/1.0 302\r\n", Some(302));
        check("HTTP/1.1 2000 OK\r\n", None);
        check("HTTP/1.1 +20 OK\r\n", None);
        check("SSH-2.0-x\r\n", None);
        check("", None);
    }
}
