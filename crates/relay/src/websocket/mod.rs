//! Relays upgraded connections: as raw bytes, or message by message where a route
//! asks for that.
//!
//! | file | idea |
//! |---|---|
//! | `frames.rs` | where frames begin and end |
//! | `pump.rs` | raw bytes in both directions |
//! | `gate.rs` | who judges messages |
//! | `conversation.rs` | messages in both directions, through a gate |
//! | `farewell.rs` | what each side is told at the end of a conversation |
//! | `metered.rs` | counts a conversation's bytes |
//!
//! Raw, nothing in a WebSocket is changed: sub-protocols, extensions, fragments, pings,
//! close codes are the two ends' affair. [`Frames`] walks over frame headers so
//! that the relay knows two things: what of the client's bytes is activity, and
//! where it may put a close frame of its own.

mod conversation;
mod farewell;
mod frames;
mod gate;
mod metered;
mod pump;

pub(crate) use conversation::{Around, Conversation};
pub(crate) use farewell::Over;
pub use frames::{Frames, close_frame};
pub use gate::{GateFailed, Judging, MessageGate, Messages};
pub(crate) use pump::{Ended, Pump, Side};
