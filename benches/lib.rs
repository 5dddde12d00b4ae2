//! What the benches share.

pub mod relayed;
