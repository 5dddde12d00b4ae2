//! What Envoy is told: listen here, relay there, and ask the filter where there is one.
//!
//! Nothing is switched on that Envoy doesn't do by itself, no access log either.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

/// How the filter holds the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// As they are.
    Plainly,
    /// By their SHA-256, as `builtin:token` does.
    Digested,
}

/// The filter, and its policy.
pub(crate) struct Filter<'a> {
    /// The compiled filter.
    pub(crate) module: &'a Path,
    pub(crate) held: Held,
    /// Token or digest, and whose it is.
    pub(crate) subjects: Vec<(String, String)>,
}

/// The whole of an Envoy's configuration.
pub(crate) fn envoy(
    listen: SocketAddr,
    upstream: SocketAddr,
    filter: Option<&Filter<'_>>,
) -> Value {
    let router = json!({
        "name": "router",
        "typed_config": { "@type": extension("filters.http.router.v3.Router") },
    });
    let filters: Vec<_> = filter.map(wasm).into_iter().chain([router]).collect();
    let connections = json!({
        "@type": extension("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "bench",
        "http_filters": filters,
        "route_config": { "virtual_hosts": [{
            "name": "all", "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "server" } }],
        }]},
    });
    json!({ "static_resources": {
        "listeners": [{
            "address": address(listen),
            "filter_chains": [{ "filters": [{ "name": "http", "typed_config": connections }] }],
        }],
        "clusters": [{
            "name": "server", "type": "STATIC",
            "load_assignment": { "cluster_name": "server", "endpoints": [
                { "lb_endpoints": [{ "endpoint": { "address": address(upstream) } }] },
            ]},
        }],
    }})
}

fn wasm(filter: &Filter<'_>) -> Value {
    let held = match filter.held {
        Held::Plainly => "plainly",
        Held::Digested => "digested",
    };
    let subjects: serde_json::Map<_, _> =
        filter.subjects.iter().map(|(key, subject)| (key.clone(), json!(subject))).collect();
    let policy = json!({ "held": held, "subjects": subjects }).to_string();
    json!({
        "name": "bearer",
        "typed_config": {
            "@type": extension("filters.http.wasm.v3.Wasm"),
            "config": {
                "name": "bearer",
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue", "value": policy,
                },
                "vm_config": {
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": filter.module } },
                },
            },
        },
    })
}

fn extension(name: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.{name}")
}

fn address(address: SocketAddr) -> Value {
    let (host, port) = (address.ip().to_string(), address.port());
    json!({ "socket_address": { "address": host, "port_value": port } })
}
