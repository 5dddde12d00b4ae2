//! The life of sandboxes, driven from outside through the public API, on a driver
//! that keeps everything in memory and says how it was used.
//!
//! Time is tokio's and paused: it moves when nobody has anything else to do.

mod adoption;
mod fake;
mod house;
mod model;
mod orders;
mod resting;
mod waking;
