//! The gate between a program and real upstreams on loopback, over HTTP and HTTPS.

mod inside;
mod passing;
mod refusing;
mod service;
