//! Where plugins come from.
#![forbid(unsafe_code)]
