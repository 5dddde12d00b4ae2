//! The relay, between real clients and real servers on loopback.
#![forbid(unsafe_code)]

mod autobahn;
mod clients;
mod framing;
mod harness;
mod http;
mod messages;
mod quota;
mod smuggling;
mod websocket;
