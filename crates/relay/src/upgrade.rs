//! A connection after its upgrade: bytes in both directions until one side, the
//! sandbox, the credential or the gateway ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::client_io::ClientIo;
use crate::forward::Lease;
use crate::strict::StrictIo;
use crate::websocket::{Around, Conversation, Ended, Over, Pump, Side};
use crate::{CloseReason, Messages, Meters, Target, Upstream};

/// How long the two sides may take to hand their connections over.
const HAND_OVER: Duration = Duration::from_secs(30);
/// How long a client may take to let itself be closed.
const CLOSE: Duration = Duration::from_secs(5);

/// All that an upgraded connection needs.
pub(crate) struct Upgraded {
    pub(crate) client: OnUpgrade,
    pub(crate) sandbox: OnUpgrade,
    pub(crate) lease: Lease,
    pub(crate) target: Arc<dyn Target>,
    pub(crate) websocket: bool,
    pub(crate) expires_at: Option<SystemTime>,
    pub(crate) messages: Option<Messages>,
    pub(crate) silence: Duration,
    pub(crate) meters: Arc<Meters>,
    pub(crate) stopping: CancellationToken,
}

impl Upgraded {
    pub(crate) async fn run(self) {
        self.meters.upgrades_begun.add(1);
        let meters = Arc::clone(&self.meters);
        self.relay().await;
        meters.upgrades_ended.add(1);
    }

    async fn relay(self) {
        let Self { client, sandbox, lease, target, meters, .. } = self;
        let (websocket, expires_at) = (self.websocket, self.expires_at);
        let (messages, silence, stopping) = (self.messages, self.silence, self.stopping);
        let hand_over = timeout(HAND_OVER, async {
            lease.finish().await;
            Some((client_side(client.await.ok()?)?, sandbox_side(sandbox.await.ok()?)?))
        });
        // `None`: the client went away while it was being told.
        let Ok(Some((client, sandbox))) = hand_over.await else { return };
        let expired = async {
            match expires_at {
                Some(at) => {
                    sleep(at.duration_since(SystemTime::now()).unwrap_or_default()).await;
                }
                None => std::future::pending().await,
            }
        };
        let over = async {
            tokio::select! {
                biased;
                reason = target.closing() => reason,
                () = stopping.cancelled() => CloseReason::GatewayStops,
                () = expired => CloseReason::CredentialExpired,
            }
        };
        if let Some(messages) = &messages {
            let around = Around { messages, silence, target: &*target, meters: &meters };
            let mut conversation = Conversation::new(client, sandbox, around).await;
            let over = tokio::select! {
                biased;
                over = conversation.relay() => over,
                reason = over => Over::Gateway(reason),
            };
            tracing::debug!(?over, sandbox = %target.sandbox(), "a WebSocket ends");
            // As below.
            let _ = timeout(CLOSE, conversation.part(over)).await;
            return;
        }
        let mut pump = Pump::new(client, sandbox, websocket, &*target, &meters);
        let reason = tokio::select! {
            biased;
            ended = pump.relay() => match ended {
                Ok(Ended::Closed) => return,
                Ok(Ended::Cut) => CloseReason::QuotaUsedUp,
                Err(error) => {
                    tracing::debug!(%error, sandbox = %target.sandbox(), "an upgraded connection broke");
                    return;
                }
            },
            reason = over => reason,
        };
        if websocket {
            // A client that takes longer is cut off: that is all a limit can do.
            let _ = timeout(CLOSE, pump.close(reason)).await;
        }
    }
}

fn client_side(upgraded: hyper::upgrade::Upgraded) -> Option<Side<ClientIo>> {
    let parts = upgraded.downcast::<TokioIo<StrictIo<ClientIo>>>().ok()?;
    let (stream, held) = parts.io.into_inner().into_parts();
    // hyper read nothing ahead: the filter holds back what follows an upgrade
    // request. Kept all the same, in order.
    let ahead = if parts.read_buf.is_empty() { held } else { joined(&parts.read_buf, &held) };
    Some(Side { stream, ahead })
}

fn sandbox_side(upgraded: hyper::upgrade::Upgraded) -> Option<Side<Upstream>> {
    let parts = upgraded.downcast::<TokioIo<Upstream>>().ok()?;
    Some(Side { stream: parts.io.into_inner(), ahead: parts.read_buf })
}

fn joined(first: &[u8], second: &[u8]) -> Bytes {
    let mut both = BytesMut::from(first);
    both.extend_from_slice(second);
    both.freeze()
}
