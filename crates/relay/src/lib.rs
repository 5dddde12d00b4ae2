//! Moves bytes between clients and sandboxes: HTTP/1.1 and HTTP/2 from clients,
//! HTTP/1.1 to sandboxes, WebSockets and other upgrades as raw bytes, or WebSockets
//! message by message through a gate.
//!
//! The binary calls it: [`serve`] accepts clients and hands each request to a
//! [`Handler`]; [`facts()`] turns a request into what policy may know; once it is
//! decided which sandbox answers, [`Relay::forward`] relays through a [`Target`].
//!
//! ```text
//! client ─▶ server ─▶ strict ─▶ hyper ─▶ Handler ─▶ forward ─▶ request headers ─▶ pool ─▶ sandbox
//!                        │                  │                                               │
//!                 400 414 431      problem, waking page ◀── error ◀── answer headers ◀──────┘
//! ```
//!
//! **Not in here:** policy, sandboxes, configuration. The relay never decides who
//! may reach what; it only makes sure that what was decided is what happens:
//! one interpretation of every request, no credential and no forged identity
//! towards a sandbox, nothing from a sandbox that could touch another's users.
#![forbid(unsafe_code)]

mod answer_headers;
mod body;
mod client_io;
mod error;
mod facts;
mod forward;
mod meters;
mod pool;
mod problem;
mod request_headers;
mod route;
mod seen_inside;
mod server;
mod stall;
mod strict;
mod target;
mod tls;
mod trusted;
mod upgrade;
mod waking;
pub mod websocket;

pub use body::{BodyError, ClientBody, RelayBody};
pub use error::RelayError;
pub use facts::{BadRequest, facts};
pub use forward::{Relay, RelayConfig};
pub use meters::Meters;
pub use problem::{DECISION_HEADER, problem};
pub use route::Route;
pub use server::{Handler, Peer, ServerConfig, serve};
pub use strict::Limits;
pub use target::{CloseReason, Flow, Target, Upstream};
pub use tls::{TlsError, server_tls};
pub use trusted::{BadNetwork, TrustedProxies};
pub use waking::waking_page;
pub use websocket::{GateFailed, Judging, MessageGate, Messages};
