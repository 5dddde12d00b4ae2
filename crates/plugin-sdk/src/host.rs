//! What the host does for a plugin.

pub use crate::worlds::plugin::tidegate::host::{
    clock, counters, http, journal, log, secrets, tokens,
};
