//! What the benches share.

pub mod decisions;
pub mod judged;
pub mod peers;
pub mod relayed;
