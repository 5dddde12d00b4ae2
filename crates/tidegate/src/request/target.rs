//! The sandbox that one request was admitted to, as the relay sees it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tidegate_relay::{CloseReason, Flow, Target, Upstream};
use tidegate_sandbox::Permit;
use tidegate_sandbox::driver::{Dialled, DriverError};
use tidegate_types::{Identity, SandboxKey};
use tokio_util::sync::CancellationToken;

use crate::usage::Metered;

/// A permit, with the gateway's own end in view.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) permit: Permit,
    /// Whose request it is.
    pub(crate) who: Arc<Identity>,
    /// What it may use.
    pub(crate) metered: Arc<Metered>,
    /// Cancelled when the gateway closes the WebSockets that are left.
    pub(crate) leaving: CancellationToken,
}

#[async_trait]
impl Target for Admitted {
    fn sandbox(&self) -> &SandboxKey {
        &self.permit.sandbox().id().key
    }

    fn start(&self) -> u64 {
        self.permit.start_number()
    }

    async fn dial(&self, port: u16, from: IpAddr) -> io::Result<Upstream> {
        match self.permit.dial(port, from).await {
            Ok(Dialled::Tcp(stream)) => Ok(stream.into()),
            Ok(Dialled::Unix(stream)) => Ok(stream.into()),
            Err(error) => {
                let kind = match &error {
                    DriverError::Refused { .. } => io::ErrorKind::ConnectionRefused,
                    DriverError::Absent(_) | DriverError::Stale { .. } => io::ErrorKind::NotFound,
                    _ => io::ErrorKind::Other,
                };
                Err(io::Error::new(kind, error))
            }
        }
    }

    fn client_bytes(&self, n: u64) -> Flow {
        self.metered.ingress(n)
    }

    fn sandbox_bytes(&self, n: u64) -> Flow {
        self.metered.egress(n)
    }

    fn active_bytes(&self, _n: u64) {
        self.permit.touch(&self.who.subject);
    }

    fn upgraded(&self) {
        self.permit.upgraded();
    }

    async fn closing(&self) -> CloseReason {
        tokio::select! {
            () = self.permit.closing() => CloseReason::SandboxStops,
            () = self.leaving.cancelled() => CloseReason::GatewayStops,
        }
    }
}
