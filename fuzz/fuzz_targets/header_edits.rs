//! Whatever edits a plugin asks for: those that are believed leave the framing of a
//! message alone, split no line, and keep a head within its bounds.
#![no_main]

use arbitrary::Arbitrary;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tidegate_plausible::{Change, Direction, MAX_EDITS, MAX_FIELD_BYTES, edits};

#[derive(Debug, Arbitrary)]
struct Asked {
    towards_client: bool,
    edits: Vec<Edit>,
}

#[derive(Debug, Arbitrary)]
enum Edit {
    Set(Name, String),
    Append(Name, String),
    Remove(Name),
}

/// Any text, or one of the names that matter, in any case.
#[derive(Debug, Arbitrary)]
enum Name {
    Any(String),
    Known { index: u8, upper: bool },
}

const FRAMING: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-accept",
    "sec-websocket-protocol",
];
const OTHERS: &[&str] = &["host", "cookie", "set-cookie", "location", "x-user", "authorization"];

impl Name {
    fn text(self) -> String {
        match self {
            Self::Any(text) => text,
            Self::Known { index, upper } => {
                let all = FRAMING.len() + OTHERS.len();
                let at = usize::from(index) % all;
                let name = FRAMING.iter().chain(OTHERS).nth(at).expect("within both");
                if upper { name.to_ascii_uppercase() } else { (*name).to_owned() }
            }
        }
    }
}

fuzz_target!(|asked: Asked| {
    let direction = if asked.towards_client { Direction::Answer } else { Direction::Request };
    let changes: Vec<_> = asked
        .edits
        .into_iter()
        .map(|edit| match edit {
            Edit::Set(name, value) => Change::Set(name.text(), value),
            Edit::Append(name, value) => Change::Append(name.text(), value),
            Edit::Remove(name) => Change::Remove(name.text()),
        })
        .collect();
    let count = changes.len();
    let believed = match edits(changes.into_iter(), direction) {
        Ok(believed) => believed,
        Err(wrong) => {
            let told = wrong.to_string();
            assert!(!told.contains(char::is_control), "{told:?}");
            assert!(told.len() < 1_024, "{told}");
            return;
        }
    };
    assert!(count <= MAX_EDITS);

    let mut head = HeaderMap::new();
    for name in FRAMING.iter().chain(&["host"]) {
        head.insert(*name, HeaderValue::from_static("the relay's"));
    }
    for edit in &believed {
        edit.apply(&mut head);
    }
    for name in FRAMING {
        let all: Vec<_> = head.get_all(*name).iter().collect();
        assert_eq!(all, ["the relay's"], "{name} was edited");
    }
    if direction == Direction::Request {
        assert_eq!(head.get_all("host").iter().count(), 1);
    }
    let mut size = 0;
    for (name, value) in &head {
        size += name.as_str().len() + value.len();
        let line = |b: &u8| matches!(b, b'\r' | b'\n' | 0);
        assert!(!value.as_bytes().iter().any(line), "{name}: {value:?}");
        assert!(!name.as_str().is_empty() && name.as_str().is_ascii(), "{name}");
    }
    assert!(size <= MAX_FIELD_BYTES + 512, "{size}");
});
