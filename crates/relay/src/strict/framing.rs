//! Follows where messages begin and end: head, body, head, … without looking at
//! bodies, of which only the length is counted.

use super::Limits;
use super::grammar::is_token;
use super::head::{Follows, Head, is_name_or_alias, split_field};
use super::violation::Violation;

/// What may not stand in a trailer: it would change the message's framing or
/// routing for whoever merges trailers into the head (RFC 9110 §6.5.1).
const NOT_IN_TRAILERS: [&[u8]; 4] = [b"content-length", b"transfer-encoding", b"host", b"trailer"];

/// Longest line of a chunk: its size and extensions.
const CHUNK_LINE: usize = 256;

/// A position in a connection's stream of requests.
#[derive(Debug)]
pub(super) struct Framing {
    limits: Limits,
    state: State,
    /// Complete heads so far.
    heads: u64,
}

#[derive(Debug)]
enum State {
    Head(Head),
    Length(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers { bytes: usize, fields: usize },
    PerhapsUpgrade,
}

/// How far a piece of the stream could be judged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// So many bytes from the start may be handed on.
    pub(super) pass: usize,
    /// So many bytes after `pass` have been judged, but belong to a head whose
    /// end is not there yet.
    pub(super) pending: usize,
}

/// A violation, and what before it may be handed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// So many bytes from the start are of complete messages before the bad one.
    pub(super) pass: usize,
    /// Whether the bad message's head was handed on in an earlier piece.
    pub(super) head_is_out: bool,
    /// The bad message's number on this connection, from 1.
    pub(super) nth: u64,
    pub(super) violation: Violation,
}

impl Framing {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, state: State::Head(Head::default()), heads: 0 }
    }

    /// Complete heads so far.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether what follows is not decided: see [`Follows::PerhapsUpgrade`].
    pub(super) fn is_undecided(&self) -> bool {
        matches!(self.state, State::PerhapsUpgrade)
    }

    /// The answer was no upgrade: what follows is a head.
    pub(super) fn no_upgrade(&mut self) {
        self.state = State::Head(Head::default());
    }

    /// Whether a message has begun and not ended.
    pub(super) fn is_within_message(&self) -> bool {
        match &self.state {
            State::Head(head) => !head.is_untouched(),
            State::PerhapsUpgrade => false,
            _ => true,
        }
    }

    /// Whether a body is under way.
    pub(super) fn is_within_body(&self) -> bool {
        !matches!(self.state, State::Head(_) | State::PerhapsUpgrade)
    }

    /// Judges `bytes`, of which the first `seen` have been judged before.
    pub(super) fn judge(&mut self, bytes: &[u8], mut seen: usize) -> Result<Judged, Refused> {
        let mut pass = 0;
        // Where the head of the current message starts, if it is in `bytes`.
        let mut head_at = matches!(self.state, State::Head(_)).then_some(0);
        loop {
            let rest = bytes.get(seen..).unwrap_or_default();
            match self.step(rest) {
                Ok(0) => break,
                Ok(taken) => {
                    seen += taken;
                    if !matches!(self.state, State::Head(ref head) if !head.is_untouched()) {
                        pass = seen;
                    }
                    if matches!(self.state, State::Head(ref head) if head.is_untouched()) {
                        head_at = Some(seen);
                    }
                }
                Err(violation) => {
                    let in_head = matches!(self.state, State::Head(_));
                    return Err(Refused {
                        nth: self.heads + u64::from(in_head),
                        pass: head_at.unwrap_or(pass),
                        head_is_out: head_at.is_none(),
                        violation,
                    });
                }
            }
        }
        Ok(Judged { pass, pending: seen - pass })
    }

    /// Takes one line or one stretch of a body; 0 when more is needed.
    fn step(&mut self, rest: &[u8]) -> Result<usize, Violation> {
        let limits = &self.limits;
        let (taken, next) = match &mut self.state {
            State::PerhapsUpgrade => return Ok(0),
            State::Length(left) | State::Chunk(left) => {
                let take = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                *left -= take as u64;
                if *left > 0 {
                    return Ok(take);
                }
                let next = match self.state {
                    State::Chunk(_) => State::ChunkEnd,
                    _ => State::Head(Head::default()),
                };
                (take, next)
            }
            State::ChunkEnd => match rest {
                [b'\r', b'\n', ..] => (2, State::ChunkSize),
                [] | [b'\r'] => return Ok(0),
                _ => return Err(Violation::ChunkEnd),
            },
            State::Head(head) => {
                let Some(line) = first_line(rest) else {
                    return head.check_unfinished(rest.len(), limits).map(|()| 0);
                };
                let Some(follows) = head.line(line, limits)? else { return Ok(line.len()) };
                self.heads += 1;
                let next = match follows {
                    Follows::Nothing => State::Head(Head::default()),
                    Follows::Length(length) => State::Length(length),
                    Follows::Chunks => State::ChunkSize,
                    Follows::PerhapsUpgrade => State::PerhapsUpgrade,
                };
                (line.len(), next)
            }
            State::ChunkSize => {
                let Some(line) = first_line(rest) else {
                    let fits = rest.len() <= CHUNK_LINE && may_be_chunk_size(rest);
                    return if fits { Ok(0) } else { Err(Violation::ChunkSize) };
                };
                let next = match chunk_size(line)? {
                    0 => State::Trailers { bytes: 0, fields: 0 },
                    size => State::Chunk(size),
                };
                (line.len(), next)
            }
            State::Trailers { bytes, fields } => {
                let Some(line) = first_line(rest) else {
                    let fits = *bytes + rest.len() <= limits.trailer_bytes;
                    return if fits { Ok(0) } else { Err(Violation::HeadTooLarge) };
                };
                *bytes += line.len();
                *fields += 1;
                if *bytes > limits.trailer_bytes || *fields > limits.fields {
                    return Err(Violation::HeadTooLarge);
                }
                if !trailer(line)? {
                    return Ok(line.len());
                }
                (line.len(), State::Head(Head::default()))
            }
        };
        self.state = next;
        Ok(taken)
    }
}

fn first_line(bytes: &[u8]) -> Option<&[u8]> {
    memchr::memchr(b'\n', bytes).and_then(|at| bytes.get(..=at))
}

/// An unfinished size line must at least begin like one, so that a client that
/// sends something else is refused at once and not kept waiting.
fn may_be_chunk_size(line: &[u8]) -> bool {
    line.first().is_none_or(u8::is_ascii_hexdigit)
}

/// RFC 9112 §7.1: hex digits, then extensions of the exact form
/// `;name`, `;name=token` or `;name="quoted"`, without white space.
fn chunk_size(line: &[u8]) -> Result<u64, Violation> {
    let line = line.strip_suffix(b"\r\n").ok_or(Violation::ChunkSize)?;
    if line.len() > CHUNK_LINE {
        return Err(Violation::ChunkSize);
    }
    let end = line.iter().position(|b| *b == b';').unwrap_or(line.len());
    let (size, extensions) = line.split_at(end);
    let digits = (1..=16).contains(&size.len()) && size.iter().all(u8::is_ascii_hexdigit);
    if !digits || !extensions_are_well_formed(extensions) {
        return Err(Violation::ChunkSize);
    }
    std::str::from_utf8(size)
        .ok()
        .and_then(|size| u64::from_str_radix(size, 16).ok())
        .ok_or(Violation::ChunkSize)
}

fn extensions_are_well_formed(mut rest: &[u8]) -> bool {
    while let Some((b';', extension)) = rest.split_first() {
        let name_end =
            extension.iter().position(|b| matches!(b, b'=' | b';')).unwrap_or(extension.len());
        let (name, after) = extension.split_at(name_end);
        if !is_token(name) {
            return false;
        }
        let Some((b'=', value)) = after.split_first() else {
            rest = after;
            continue;
        };
        let Some(value_end) = extension_value_end(value) else { return false };
        rest = value.get(value_end..).unwrap_or_default();
    }
    rest.is_empty()
}

/// Where a token or a quoted string at the start of `value` ends.
fn extension_value_end(value: &[u8]) -> Option<usize> {
    if value.first() != Some(&b'"') {
        let end = value.iter().position(|b| *b == b';').unwrap_or(value.len());
        return value.get(..end).filter(|token| is_token(token)).map(|_| end);
    }
    let mut escaped = false;
    for (at, byte) in value.iter().enumerate().skip(1) {
        match byte {
            b'\t' | b' '..=b'~' if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            b'\t' | b' '..=b'~' => {}
            _ => return None,
        }
    }
    None
}

/// Judges one line of a trailer; true when it was the last.
fn trailer(line: &[u8]) -> Result<bool, Violation> {
    let line = line.strip_suffix(b"\r\n").ok_or(Violation::Trailer)?;
    if line.is_empty() {
        return Ok(true);
    }
    let (name, _) = split_field(line).map_err(|_| Violation::Trailer)?;
    if NOT_IN_TRAILERS.iter().any(|known| is_name_or_alias(name, known)) {
        return Err(Violation::Trailer);
    }
    Ok(false)
}
