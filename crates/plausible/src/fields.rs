//! Edits of header fields, as far as they leave alone what frames a message.

use http::{HeaderName, HeaderValue, header};
use tidegate_types::HeaderEdit;

use crate::Implausible;
use crate::implausible::shown;

/// The most edits of one message.
pub const MAX_EDITS: usize = 64;
/// The longest value of one field, in bytes.
pub const MAX_VALUE: usize = 16 << 10;
/// All names and values of one list together, in bytes. Larger heads are refused by
/// many servers, and each request would carry them.
pub const MAX_FIELD_BYTES: usize = 32 << 10;

/// Which message an edit is made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// A request, on its way to an application or to a service outside.
    Request,
    /// An answer, on its way to a client.
    Answer,
}

/// One edit as a plugin asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Replaces all values of the first by the second.
    Set(String, String),
    /// Adds a value.
    Append(String, String),
    /// Removes all values.
    Remove(String),
}

/// Fields that are the relay's alone: they frame a message or belong to one
/// connection, and an edit would make two parties read different messages.
const RELAYS_OWN: &[&str] = &[
    "connection",        // names further fields of one connection
    "content-length",    // frames the body
    "expect",            // the relay answers it
    "http2-settings",    // of one connection, on its way to another protocol
    "keep-alive",        // of one connection
    "proxy-connection",  // the same, as old clients spell it
    "te",                // of one connection
    "trailer",           // announces part of the framing
    "transfer-encoding", // frames the body
    "upgrade",           // changes the protocol of one connection
];

/// Belongs to the WebSocket handshake, which is relayed untouched.
const HANDSHAKE: &str = "sec-websocket-";

/// Edits that leave the framing alone.
///
/// # Errors
/// The first that doesn't, by its index; or that there are too many or too long ones.
pub fn edits(
    asked: impl ExactSizeIterator<Item = Change>,
    direction: Direction,
) -> Result<Vec<HeaderEdit>, Implausible> {
    if asked.len() > MAX_EDITS {
        let what = format!("{} edits of header fields; at most {MAX_EDITS}", asked.len());
        return Err(Implausible::new("", what));
    }
    let mut room = MAX_FIELD_BYTES;
    let mut believed = Vec::with_capacity(asked.len());
    for (index, change) in asked.enumerate() {
        let edit = edit(change, direction, &mut room);
        believed.push(edit.map_err(|wrong| wrong.within(&format!("[{index}]")))?);
    }
    Ok(believed)
}

fn edit(change: Change, direction: Direction, room: &mut usize) -> Result<HeaderEdit, Implausible> {
    Ok(match change {
        Change::Set(name, value) => {
            HeaderEdit::Set(field_name(&name, direction)?, field_value(&name, &value, room)?)
        }
        Change::Append(name, value) => {
            HeaderEdit::Append(field_name(&name, direction)?, field_value(&name, &value, room)?)
        }
        Change::Remove(name) => HeaderEdit::Remove(field_name(&name, direction)?),
    })
}

/// A field's name that a plugin may set, add or remove.
///
/// # Errors
/// When it is no name, or one of a field that only the relay sets.
pub fn field_name(name: &str, direction: Direction) -> Result<HeaderName, Implausible> {
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Implausible::new("name", format!("{} is no header field", shown(name))))?;
    let known = parsed.as_str();
    let host = direction == Direction::Request && parsed == header::HOST;
    if host || RELAYS_OWN.contains(&known) || known.starts_with(HANDSHAKE) {
        return Err(Implausible::new("name", format!("only the relay sets `{known}`")));
    }
    Ok(parsed)
}

/// A field's value; takes its size off `room`.
pub(crate) fn field_value(
    name: &str,
    value: &str,
    room: &mut usize,
) -> Result<HeaderValue, Implausible> {
    let wrong = |what: String| Implausible::new("value", what);
    if value.len() > MAX_VALUE {
        return Err(wrong(format!("{} bytes; at most {MAX_VALUE}", value.len())));
    }
    let left = room.checked_sub(name.len() + value.len());
    *room = left.ok_or_else(|| {
        wrong(format!("with it the fields have more than {MAX_FIELD_BYTES} bytes"))
    })?;
    // Not shown: it may be a cookie.
    HeaderValue::from_str(value)
        .map_err(|_| wrong("it contains characters that no header field may have".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: Change, direction: Direction) -> String {
        edits([change].into_iter(), direction).expect_err("it is refused").to_string()
    }

    #[test]
    fn an_edit_never_splits_or_frames_a_message() {
        let set = |name: &str, value: &str| Change::Set(name.into(), value.into());
        for (change, expected) in [
            (set("x-a", "1\r\nset-cookie: x=1"), "`[0].value`: it contains"),
            (set("x-a", "1\0"), "`[0].value`: it contains"),
            (set("a b", "1"), "`[0].name`: `a b` is no header field"),
            (set("", "1"), "`[0].name`: `` is no header field"),
            (set(":path", "/"), "`[0].name`: `:path` is no header field"),
            (set("x\r\ny", "1"), "`[0].name`: `x\\r\\ny` is no header field"),
            (set("Content-Length", "0"), "only the relay sets `content-length`"),
            (set("x-a", &"a".repeat(MAX_VALUE + 1)), "`[0].value`: 16385 bytes"),
            (Change::Append("Connection".into(), "close".into()), "sets `connection`"),
            (Change::Remove("Transfer-Encoding".into()), "sets `transfer-encoding`"),
            (Change::Remove("Sec-WebSocket-Accept".into()), "sets `sec-websocket-accept`"),
            (Change::Remove("te".into()), "only the relay sets `te`"),
        ] {
            for direction in [Direction::Request, Direction::Answer] {
                let told = refused(change.clone(), direction);
                assert!(told.contains(expected), "{change:?}: {told}");
            }
        }
        assert!(refused(set("Host", "x"), Direction::Request).contains("sets `host`"));
        assert!(edits([set("Host", "x")].into_iter(), Direction::Answer).is_ok());
    }

    #[test]
    fn a_list_of_edits_is_short_and_the_wrong_one_is_named() {
        let many = (0..=MAX_EDITS).map(|i| Change::Remove(format!("x-{i}")));
        let many: Vec<_> = many.collect();
        let told = edits(many.into_iter(), Direction::Answer).expect_err("too many");
        assert_eq!(told.what, "65 edits of header fields; at most 64");
        let long = vec![Change::Set("x-a".into(), "a".repeat(MAX_VALUE)); 3];
        let told = edits(long.into_iter(), Direction::Answer).expect_err("too long");
        assert_eq!(told.field, "[1].value");
    }
}
