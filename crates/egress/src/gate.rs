//! Accepting what a sandbox opens, within limits.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::CertificateDer;
use tidegate_outgoing::{Connector, TrustError, connector};
use tidegate_types::{SandboxKey, UpstreamName};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client;
use crate::forward::{Caller, forward};
use crate::meters::UpstreamMeters;
use crate::upstream::{BadUpstream, Target, Upstream};

/// The upstreams, by name.
pub(crate) type Table = HashMap<UpstreamName, Target>;

/// What the gate grants; the same for every sandbox.
#[derive(Debug, Clone)]
pub struct GateConfig {
    /// Connections that one sandbox may have open; more wait in its backlog. It
    /// doesn't bound how many requests one connection carries, one after another.
    pub connections_per_sandbox: usize,
    /// Bytes of one request's head. It doesn't bound bodies.
    pub head_bytes: usize,
    /// For the connection to an upstream, without its TLS handshake.
    pub connect_timeout: Duration,
    /// From a request to the head of its answer, the request's body included.
    /// Models think for long.
    pub head_timeout: Duration,
    /// Between two pieces of a body, either way.
    pub idle_timeout: Duration,
    /// Certificates to trust besides the web's authorities.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            connections_per_sandbox: 64,
            head_bytes: 64 * 1024,
            connect_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(300),
            extra_roots: Vec::new(),
        }
    }
}

/// Why the gate cannot work.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// One of the upstreams.
    #[error(transparent)]
    Upstream(#[from] BadUpstream),
    /// Encrypted connections can't be made with these certificates.
    #[error("a trusted certificate for upstreams cannot be used")]
    Certificates(#[from] TrustError),
}

/// Passes sandboxes' requests on to upstreams. One per gateway.
pub struct UpstreamGate {
    table: ArcSwap<Table>,
    config: GateConfig,
    connector: Connector,
}

impl std::fmt::Debug for UpstreamGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamGate").field("config", &self.config).finish_non_exhaustive()
    }
}

impl UpstreamGate {
    /// A gate to these upstreams.
    ///
    /// # Errors
    /// [`GateError`], for the first thing that can't work.
    pub fn new(upstreams: &[Upstream], config: GateConfig) -> Result<Arc<Self>, GateError> {
        let connector = connector(config.connect_timeout, &config.extra_roots)?;
        let table = ArcSwap::from_pointee(table(upstreams, &Table::new())?);
        Ok(Arc::new(Self { table, config, connector }))
    }

    /// Takes other upstreams, for all requests from now on. Counting goes on for
    /// those that keep their name.
    ///
    /// # Errors
    /// [`BadUpstream`]; then nothing changes.
    pub fn replace(&self, upstreams: &[Upstream]) -> Result<(), BadUpstream> {
        let next = table(upstreams, &self.table.load())?;
        self.table.store(Arc::new(next));
        Ok(())
    }

    /// What is counted, by upstream, in the order of their names.
    #[must_use]
    pub fn meters(&self) -> Vec<(UpstreamName, Arc<UpstreamMeters>)> {
        let table = self.table.load();
        let mut meters: Vec<_> = table
            .values()
            .map(|target| (target.name.clone(), Arc::clone(&target.meters)))
            .collect();
        meters.sort_by(|a, b| a.0.cmp(&b.0));
        meters
    }

    /// Serves what `listener` accepts, all of which `who` opened, until `stop`.
    /// `who` reaches the upstreams in `allowed` and no others.
    ///
    /// # Cancel safety
    /// Dropping it closes every connection, as `stop` does.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        who: SandboxKey,
        allowed: Vec<UpstreamName>,
        stop: CancellationToken,
    ) {
        let pool = client::pool(&self.connector);
        let caller = Arc::new(Caller { who, allowed, pool });
        let room = Arc::new(Semaphore::new(self.config.connections_per_sandbox));
        let mut connections = JoinSet::new();
        let accept = async {
            loop {
                // The room comes first: what there is none for waits in the backlog.
                let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
                while connections.try_join_next().is_some() {}
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let (gate, caller) = (Arc::clone(&self), Arc::clone(&caller));
                        connections.spawn(async move {
                            gate.serve_connection(stream, caller).await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(sandbox = %caller.who, %error, "cannot accept for upstreams");
                        // Short of descriptors, most likely: trying at once would spin.
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = accept => {}
        }
    }

    async fn serve_connection(&self, stream: TcpStream, caller: Arc<Caller>) {
        // Small pieces of a stream of events are not to wait for one another.
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| {
            let (table, caller) = (self.table.load_full(), Arc::clone(&caller));
            async move { Ok::<_, Infallible>(forward(request, &caller, &table, &self.config).await) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.idle_timeout)
            .max_buf_size(self.config.head_bytes.max(8 * 1024))
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(sandbox = %caller.who, %error, "a connection for upstreams broke off");
        }
    }
}

fn table(upstreams: &[Upstream], old: &Table) -> Result<Table, BadUpstream> {
    let mut table = Table::new();
    for upstream in upstreams {
        let meters = old.get(&upstream.name).map(|target| Arc::clone(&target.meters));
        let target = Target::new(upstream, meters.unwrap_or_default())?;
        table.insert(upstream.name.clone(), target);
    }
    Ok(table)
}
