//! What the gateway serves inside sandboxes: the upstream gate's listener.

use std::net::IpAddr;
use std::sync::Arc;

use tidegate_egress::{ADDRESS, LISTENER, UpstreamGate, host_name};
use tidegate_relay::Relay;
use tidegate_sandbox::Companion;
use tidegate_sandbox::driver::Listener;
use tidegate_types::{SandboxKey, Template};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// The gates of all sandboxes.
#[derive(Debug)]
pub(crate) struct Gates {
    /// Keeps connections open towards applications.
    pub(crate) relay: Arc<Relay>,
    pub(crate) upstreams: Arc<UpstreamGate>,
}

impl Companion for Gates {
    fn listeners(&self, template: &Template) -> Vec<Listener> {
        if template.upstreams.is_empty() {
            return Vec::new();
        }
        vec![Listener { name: LISTENER.to_owned(), address: ADDRESS }]
    }

    fn hosts(&self, template: &Template) -> Vec<(String, IpAddr)> {
        template.upstreams.iter().map(|name| (host_name(name), ADDRESS.ip())).collect()
    }

    fn serve(
        &self,
        _name: &str,
        listener: TcpListener,
        key: &SandboxKey,
        template: &Arc<Template>,
    ) -> AbortOnDropHandle<()> {
        let gate = Arc::clone(&self.upstreams);
        let key = key.clone();
        let allowed = template.upstreams.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            // Ends when the handle is dropped: with the sandbox.
            gate.serve(listener, key, allowed, CancellationToken::new()).await;
        }))
    }

    fn over(&self, key: &SandboxKey) {
        self.relay.forget(key);
    }
}
