//! System calls that have no safe wrapper elsewhere, each wrapped in one.
//!
//! Used by the keeper program and by the gateway's driver. All `unsafe` of both
//! is here.

pub mod loops;
pub mod mount;
pub mod process;
pub mod restrict;
pub mod signals;
pub mod socket;
