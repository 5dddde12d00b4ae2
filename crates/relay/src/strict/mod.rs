//! Lets through only HTTP/1 with a single interpretation.
//!
//! [`StrictIo`] sits between a client's connection and hyper. It follows the
//! stream with a state machine of its own (head → body of a known length, or
//! chunks → head …) and hands a head on only when all of it is there and none of
//! it can be read in two ways: exact line ends, no folding, one `Host`, one
//! `Content-Length` of digits or one `Transfer-Encoding: chunked`, never both.
//! Bodies are counted, not looked at; chunk headers are.
//!
//! Request smuggling is two parsers that disagree. hyper only ever sees messages
//! whose framing has one reading, so it cannot disagree with this machine, and
//! the sandbox gets messages that hyper framed anew.
//!
//! A head that is refused is replaced by a fixed one, so that hyper answers it in
//! its turn: answers to the requests before it keep their order, and the client
//! reads why before the connection closes.

mod framing;
mod gate;
pub(crate) mod grammar;
mod head;
mod io;
#[cfg(test)]
mod tests;
mod violation;

pub(crate) use gate::Gate;
pub(crate) use io::StrictIo;

/// How large a request's head may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request target: more is 414. Default 16 KiB.
    pub target_bytes: usize,
    /// Bytes of the whole head: more is 431. Default 64 KiB.
    pub head_bytes: usize,
    /// Header fields: more is 431. Default 100.
    pub fields: usize,
    /// Bytes of a chunked body's trailer: more is 431. Default 8 KiB. Limits what
    /// one request makes the gateway keep, not how many there are at once.
    pub trailer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { target_bytes: 16 << 10, head_bytes: 64 << 10, fields: 100, trailer_bytes: 8 << 10 }
    }
}
