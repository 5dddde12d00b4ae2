//! Relays upgraded connections as raw bytes.
//!
//! Nothing in a WebSocket is changed: sub-protocols, extensions, fragments, pings,
//! close codes are the two ends' affair. [`Frames`] walks over frame headers so
//! that the relay knows two things: what of the client's bytes is activity, and
//! where it may put a close frame of its own.

mod frames;
mod pump;

pub use frames::{Frames, close_frame};
pub(crate) use pump::{Ended, Pump, Side};
