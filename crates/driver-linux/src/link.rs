//! The gateway's end of a keeper's control socket.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_keeper::protocol::{Call, Ended, Failure, FromKeeper, Reply, Request};
use tidegate_keeper::wire;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// A keeper answers within microseconds; one that takes this long is stuck.
const PATIENCE: Duration = Duration::from_secs(20);

type Answer = (Result<Reply, Failure>, Vec<OwnedFd>);
type Waiting = Arc<Mutex<Option<HashMap<u32, oneshot::Sender<Answer>>>>>;

/// A connection to one keeper. Dropping it closes it; the keeper stays.
#[derive(Debug)]
pub(crate) struct Link {
    socket: Arc<AsyncFd<OwnedFd>>,
    /// `None` once the connection has ended.
    waiting: Waiting,
    next: AtomicU32,
    reader: JoinHandle<()>,
}

/// What a keeper said unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// The command ended.
    Ended(Ended),
    /// The keeper is gone, or another gateway took its place with it.
    Gone,
}

/// Why a call has no good answer.
#[derive(Debug)]
pub(crate) enum LinkError {
    /// The keeper could not do it.
    Refused(Failure),
    /// The keeper could not be asked.
    Broken(io::Error),
}

impl From<LinkError> for io::Error {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Refused(failure) => {
                let system = Self::from_raw_os_error(failure.errno);
                Self::new(system.kind(), format!("{}: {system}", failure.step))
            }
            LinkError::Broken(error) => error,
        }
    }
}

impl Link {
    /// Takes a connected `SOCK_SEQPACKET` socket. Within a tokio runtime only.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<(Self, mpsc::UnboundedReceiver<News>)> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let socket = Arc::new(watch(socket, Interest::READABLE | Interest::WRITABLE)?);
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let (tell, news) = mpsc::unbounded_channel();
        // Ends with the connection, and at the latest with this link.
        let reader = tokio::spawn(read(Arc::clone(&socket), Arc::clone(&waiting), tell));
        Ok((Self { socket, waiting, next: AtomicU32::new(1), reader }, news))
    }

    /// Asks and awaits the answer.
    ///
    /// Cancel safe in that the link stays usable; the keeper may have done it.
    pub(crate) async fn call(
        &self,
        call: Call,
        fds: &[OwnedFd],
    ) -> Result<(Reply, Vec<OwnedFd>), LinkError> {
        let broken = |kind: io::ErrorKind, why: &str| LinkError::Broken(io::Error::new(kind, why));
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        match &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(waiting) => drop(waiting.insert(id, sender)),
            None => return Err(broken(io::ErrorKind::NotConnected, "its keeper is gone")),
        }
        let request = Request { id, call };
        let asked = tokio::time::timeout(PATIENCE, async {
            self.socket
                .async_io(Interest::WRITABLE, |socket| {
                    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
                    wire::send(socket, &request, &fds)
                })
                .await?;
            receiver
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::NotConnected, "its keeper is gone"))
        });
        match asked.await {
            Ok(Ok((Ok(reply), fds))) => Ok((reply, fds)),
            Ok(Ok((Err(failure), _))) => Err(LinkError::Refused(failure)),
            Ok(Err(error)) => Err(LinkError::Broken(error)),
            Err(_) => Err(broken(io::ErrorKind::TimedOut, "its keeper does not answer")),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Registers a descriptor with the runtime.
#[expect(
    deprecated,
    reason = "what replaces it is unsafe, for types that are not, as `OwnedFd` is, I/O-safe"
)]
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}

async fn read(socket: Arc<AsyncFd<OwnedFd>>, waiting: Waiting, tell: mpsc::UnboundedSender<News>) {
    loop {
        let receive = |socket: &OwnedFd| wire::receive::<FromKeeper>(socket);
        let message = socket.async_io(Interest::READABLE, receive).await;
        let Ok(Some((message, fds))) = message else { break };
        match message {
            FromKeeper::Answer(id, result) => {
                let sender = waiting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .as_mut()
                    .and_then(|waiting| waiting.remove(&id));
                if let Some(sender) = sender {
                    // Whoever asked may have stopped waiting.
                    drop(sender.send((result, fds)));
                }
            }
            FromKeeper::Ended(ended) => _ = tell.send(News::Ended(ended)),
        }
    }
    *waiting.lock().unwrap_or_else(PoisonError::into_inner) = None;
    _ = tell.send(News::Gone);
}
