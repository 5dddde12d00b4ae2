//! `tidegate logs`

use std::io::{self, IsTerminal as _};

use http::Method;
use http_body_util::BodyExt as _;

use super::client::{block_on, path};
use super::failure::Failure;
use super::find::{self, Place};
use super::text::{print, write_all};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "On a terminal, control characters are replaced: what a tenant wrote does not\n\
    steer it. Pipe it to see the bytes.\n\n\
    Examples:\n  tidegate logs user-ann\n  tidegate logs -f -n 20 acme/user-ann\n  tidegate logs user-ann | less -R"
)]
pub(super) struct Logs {
    /// NAME, or TENANT/NAME
    #[arg(value_name = "SANDBOX")]
    sandbox: String,
    /// Go on with what it writes from now on
    #[arg(long, short)]
    follow: bool,
    /// Only that many lines of what it wrote so far
    #[arg(long, short = 'n', value_name = "COUNT")]
    lines: Option<u64>,
}

impl Logs {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let client = place.client()?;
        let mut harmless = Harmless::default();
        let to_terminal = io::stdout().is_terminal();
        block_on(async {
            let all = client.sandboxes().await?;
            let sandbox = find::sandbox(&self.sandbox, &all)?;
            let lines = self.lines.map(|n| format!("&lines={n}")).unwrap_or_default();
            let path = path(sandbox, &format!("/logs?follow={}{lines}", self.follow));
            let mut body = client.send(Method::GET, &path).await?.into_body();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| {
                    Failure::new(
                        format!("the log broke off: {error}"),
                        "The gateway may have ended; try again",
                    )
                })?;
                let Ok(piece) = frame.into_data() else { continue };
                if to_terminal {
                    print(&harmless.text(&piece))?;
                } else {
                    write_all(&piece)?;
                }
            }
            Ok(())
        })
    }
}

/// Makes what a tenant wrote safe for a terminal: control characters other than
/// line ends and tabs, and bytes that are no UTF-8, are replaced.
#[derive(Default)]
struct Harmless {
    /// The beginning of a character whose rest has not arrived.
    begun: Vec<u8>,
}

impl Harmless {
    fn text(&mut self, piece: &[u8]) -> String {
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.extend_from_slice(piece);
        let mut out = String::with_capacity(bytes.len());
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (good, bad) = match std::str::from_utf8(rest) {
                Ok(_) => (rest, None),
                Err(error) => (rest.get(..error.valid_up_to()).unwrap_or_default(), Some(error)),
            };
            let harmless =
                |c: char| if c.is_control() && !"\n\t".contains(c) { '\u{fffd}' } else { c };
            out.extend(String::from_utf8_lossy(good).chars().map(harmless));
            rest = rest.get(good.len()..).unwrap_or_default();
            match bad.map(|error| error.error_len()) {
                Some(Some(length)) => {
                    out.push('\u{fffd}');
                    rest = rest.get(length..).unwrap_or_default();
                }
                Some(None) => {
                    self.begun = rest.to_vec();
                    break;
                }
                None => {}
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&[u8]], expected: &str) {
        let mut harmless = Harmless::default();
        let shown: String = pieces.iter().map(|piece| harmless.text(piece)).collect();
        assert_eq!(shown, expected, "{pieces:?}");
    }

    #[test]
    fn what_a_tenant_wrote_does_not_steer_the_terminal() {
        check(&[b"a\tb\nc"], "a\tb\nc");
        check(&[b"\x1b[2J\x07\r\x7f"], "\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}");
        // CSI in its one-character forms.
        check(&["\u{9b}2J".as_bytes()], "\u{fffd}2J");
        check(&[b"\x9b2J"], "\u{fffd}2J");
    }

    #[test]
    fn a_character_cut_in_two_is_put_together() {
        check(&[b"\xe2\x82", b"\xac!"], "\u{20ac}!");
        check(&[b"\xe2", b"\x82", b"\xac"], "\u{20ac}");
        check(&[b"\xe2", b"\x1b"], "\u{fffd}\u{fffd}");
        check(&[b"\xc2", b"\x9b"], "\u{fffd}");
    }
}
