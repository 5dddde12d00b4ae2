//! For tests: judges WebSocket messages, and misbehaves where a message says so.
//! Not first-party: the gateway doesn't embed it.
//!
//! A text `in ORDER` is obeyed on its way to the sandbox, `out ORDER` on its way
//! back; other messages pass.

use serde::Deserialize;
use tidegate_plugin::prelude::*;

struct Chaperone(Config);

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    /// What a message becomes that shall not be read.
    #[serde(default = "redacted")]
    mark: String,
}

fn redacted() -> String {
    "[redacted]".into()
}

impl Plugin for Chaperone {
    type Config = Config;

    fn manifest() -> Manifest {
        manifest("chaperone", env!("CARGO_PKG_VERSION"), "Judges messages, for tests.", "{}")
    }

    fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self(config))
    }
}

impl Messages for Chaperone {
    fn on_message(
        &self,
        who: &Identity,
        target: &Sandbox,
        way: Direction,
        message: Payload,
    ) -> Result<Judged, Failure> {
        let Payload::Text(text) = message else { return Ok(Judged::Forward) };
        let order = match way {
            Direction::ToSandbox => text.strip_prefix("in "),
            Direction::ToClient => text.strip_prefix("out "),
        };
        let replace = |text: String| Ok(Judged::Replace(Payload::Text(text)));
        match order {
            Some("redact") => replace(self.0.mark.clone()),
            Some("discard") => Ok(Judged::Discard),
            Some("close") => {
                Ok(Judged::Close(CloseFrame { code: 4100, reason: "that is enough".into() }))
            }
            Some("forbidden-close") => {
                Ok(Judged::Close(CloseFrame { code: 1006, reason: String::new() }))
            }
            Some("who") => replace(format!("{} in {}", who.subject(), target.id())),
            Some("fail") => Err(failure("no-idea", "could not tell")),
            Some("trap") => panic!("as told"),
            Some("loop") => loop {
                std::hint::black_box(());
            },
            Some("hoard") => {
                let mut hoard = Vec::new();
                loop {
                    hoard.push(vec![1_u8; 1 << 20]);
                    std::hint::black_box(&hoard);
                }
            }
            _ => Ok(Judged::Forward),
        }
    }
}

tidegate_plugin::export!(Chaperone: messages);
