//! The control API's listener. It shares file descriptors and memory with the
//! gateway that serves tenants: so it takes a bounded number of connections, and
//! none that sends its request at leisure.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::routes::{Api, router};
use crate::{Access, Gateway};

/// Connections at once; the next waits until one ends.
const CONNECTIONS: usize = 256;
/// How long a request's head may take; an idle connection is closed after that.
const HEAD: Duration = Duration::from_secs(30);
/// How long nothing is accepted after accepting failed: the machine is out of
/// something, most likely file descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// How long open requests may go on after `stop`.
const LAST: Duration = Duration::from_secs(5);

/// Serves the control API until `stop` is cancelled and open requests have
/// ended, or 5 s later; log streams end at once.
///
/// # Cancel safety
/// Dropping it ends the listener and all open requests.
pub async fn serve(
    listener: TcpListener,
    gateway: Arc<dyn Gateway>,
    access: Access,
    stop: CancellationToken,
) {
    let router = router(Api { gateway, access: Arc::new(access), stop: stop.clone() });
    // Dropping it ends its tasks.
    let mut open = JoinSet::new();
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let accepting = async {
        loop {
            // The semaphore is never closed.
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (router, stop) = (router.clone(), stop.clone());
                    open.spawn(async move {
                        connection(stream, router, stop).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control listener cannot accept");
                    tokio::time::sleep(BREATH).await;
                }
            }
            while open.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stop.cancelled() => {}
    }
    drop(listener);
    let ending = async { while open.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST, ending).await;
}

/// Serves one connection; a client that breaks off is nobody's error.
async fn connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        _ = serving.as_mut() => return,
        () = stop.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}
