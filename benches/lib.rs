//! What the benches share.

pub mod judged;
pub mod peers;
pub mod relayed;
