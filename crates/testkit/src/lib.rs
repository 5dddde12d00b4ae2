//! Real parts for tests: the gateway's own binary, OpenClaw, a browser, a model,
//! servers to relay to.
//!
//! **Not in here:** anything that production code uses.
#![forbid(unsafe_code)]

pub mod browser;
pub mod demo;
pub mod driver_conformance;
pub mod file_server;
pub mod gateway;
pub mod http;
pub mod http_raw;
pub mod model;
pub mod oci_registry;
pub mod oidc_provider;
pub mod openclaw;
pub mod tls;
pub mod websocket;
