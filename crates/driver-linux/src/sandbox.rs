//! One sandbox that exists: its keeper, its sockets, what runs in it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::net::{AddressFamily, SocketType};
use tidegate_keeper::protocol::{Call, Ended, Family, Status};
use tidegate_keeper::sys::socket::netns_cookie;
use tidegate_sandbox::driver::{DriverError, Exit, SandboxId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::cgroup::Group;
use crate::link::{Link, News};
use crate::recipe::Recipe;
use crate::state::{Place, Record};

/// Sockets asked for at a time, and how few there may be before more are asked for.
pub(crate) const SOCKETS: u8 = 8;
const FEW: usize = 4;

/// A sandbox whose keeper we talk to.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) id: SandboxId,
    pub(crate) template: String,
    pub(crate) recipe: Recipe,
    pub(crate) record: Record,
    pub(crate) place: Place,
    pub(crate) link: Link,
    pub(crate) keeper: u32,
    cookie: u64,
    pub(crate) state: watch::Sender<Running>,
    pool: [Pool; 2],
    /// Ends with this sandbox; it is the only one that holds no reference to it.
    news: JoinHandle<()>,
}

/// Whether a command runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Running {
    /// Not; this is how the last one ended, if there was one.
    No(Option<Exit>),
    /// It is being started in these cgroups.
    Starting(Group),
    /// It does.
    Yes {
        /// Pid 1 inside, as the machine numbers it.
        init: u32,
        /// When it was started.
        since: SystemTime,
        /// Its cgroups.
        group: Group,
    },
    /// Nothing can run: the keeper is gone.
    Gone,
}

#[derive(Debug, Default)]
struct Pool {
    sockets: Mutex<Vec<OwnedFd>>,
    filling: std::sync::atomic::AtomicBool,
}

impl Sandbox {
    /// Takes over a keeper that has said who it is.
    pub(crate) fn new(
        status: Status,
        id: SandboxId,
        record: Record,
        place: Place,
        (link, news): (Link, mpsc::UnboundedReceiver<News>),
    ) -> io::Result<Arc<Self>> {
        let recipe = postcard::from_bytes(&status.setup.notes).map_err(io::Error::other)?;
        let running = match status.running {
            Some(running) => Running::Yes {
                init: running.init,
                since: UNIX_EPOCH + Duration::from_millis(running.since),
                group: postcard::from_bytes(&running.notes).map_err(io::Error::other)?,
            },
            None => Running::No(status.last.map(|ended| exit(ended, false))),
        };
        let (state, _) = watch::channel(running);
        let task = tokio::spawn(listen(news, state.clone()));
        Ok(Arc::new(Self {
            id,
            template: status.setup.template,
            recipe,
            record,
            place,
            link,
            keeper: status.pid,
            cookie: status.cookie,
            state,
            pool: Default::default(),
            news: task,
        }))
    }

    pub(crate) fn running(&self) -> Running {
        self.state.borrow().clone()
    }

    /// The error of a failed step.
    pub(crate) fn failed(&self, step: &str, error: impl Into<io::Error>) -> DriverError {
        system(&self.id, step, error)
    }

    /// Waits until no command runs.
    pub(crate) async fn ended(&self) -> Exit {
        let mut state = self.state.subscribe();
        let ended = state.wait_for(|state| matches!(state, Running::No(_) | Running::Gone)).await;
        match ended.as_deref() {
            Ok(Running::No(Some(exit))) => *exit,
            _ => Exit::Unknown,
        }
    }

    /// A socket of the sandbox's network, without a round trip as a rule.
    pub(crate) async fn socket(self: &Arc<Self>, family: Family) -> Result<OwnedFd, DriverError> {
        let pool = self.pool(family);
        let (socket, left) = {
            let mut sockets = pool.sockets.lock().unwrap_or_else(PoisonError::into_inner);
            (sockets.pop(), sockets.len())
        };
        if left < FEW && !pool.filling.swap(true, std::sync::atomic::Ordering::AcqRel) {
            let sandbox = Arc::clone(self);
            // Ends by itself: the keeper answers, or the link gives up.
            tokio::spawn(async move {
                let filled = sandbox.fill(family).await;
                sandbox.pool(family).filling.store(false, std::sync::atomic::Ordering::Release);
                if let Err(error) = filled {
                    tracing::debug!(sandbox = %sandbox.id.key, %error, "no sockets for dialling");
                }
            });
        }
        match socket {
            Some(socket) => Ok(socket),
            None => {
                let call = Call::Sockets { family, count: 1 };
                let (_, sockets) = self
                    .link
                    .call(call, &[])
                    .await
                    .map_err(|e| self.failed("making a socket", e))?;
                let mut sockets = self.checked(sockets, family)?;
                sockets.pop().ok_or_else(|| self.failed("making a socket", io::ErrorKind::NotFound))
            }
        }
    }

    async fn fill(&self, family: Family) -> Result<(), DriverError> {
        let call = Call::Sockets { family, count: SOCKETS };
        let (_, sockets) =
            self.link.call(call, &[]).await.map_err(|e| self.failed("making sockets", e))?;
        self.keep(sockets, family)
    }

    /// Keeps sockets for later dials.
    pub(crate) fn keep(&self, sockets: Vec<OwnedFd>, family: Family) -> Result<(), DriverError> {
        let sockets = self.checked(sockets, family)?;
        self.pool(family).sockets.lock().unwrap_or_else(PoisonError::into_inner).extend(sockets);
        Ok(())
    }

    fn pool(&self, family: Family) -> &Pool {
        let [v4, v6] = &self.pool;
        match family {
            Family::V4 => v4,
            Family::V6 => v6,
        }
    }

    /// INVARIANT: no socket is used that is not a TCP socket of this sandbox's
    /// network. A mistake here would connect one tenant to another, or to the host.
    pub(crate) fn checked(
        &self,
        sockets: Vec<OwnedFd>,
        family: Family,
    ) -> Result<Vec<OwnedFd>, DriverError> {
        let expected = match family {
            Family::V4 => AddressFamily::INET,
            Family::V6 => AddressFamily::INET6,
        };
        for socket in &sockets {
            let fits = rustix::net::sockopt::socket_domain(socket) == Ok(expected)
                && rustix::net::sockopt::socket_type(socket) == Ok(SocketType::STREAM)
                && netns_cookie(socket).is_ok_and(|cookie| cookie == self.cookie);
            if !fits {
                let error = io::Error::other("a socket does not belong to the sandbox");
                return Err(self.failed("checking its sockets", error));
            }
            rustix::io::ioctl_fionbio(socket, true)
                .map_err(|e| self.failed("preparing its sockets", e))?;
        }
        Ok(sockets)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.news.abort();
    }
}

/// Follows what the keeper says unasked.
async fn listen(mut news: mpsc::UnboundedReceiver<News>, state: watch::Sender<Running>) {
    while let Some(news) = news.recv().await {
        let group = match &*state.borrow() {
            Running::Starting(group) | Running::Yes { group, .. } => group.clone(),
            Running::No(_) | Running::Gone => Group::default(),
        };
        let killed = group.memory_kills() > 0;
        // Without its keeper init ends too, and everything with it.
        let removed = group.remove().await;
        state.send_replace(match news {
            News::Ended(ended) => Running::No(Some(exit(ended, killed))),
            News::Gone => Running::Gone,
        });
        if let Err(error) = removed {
            tracing::warn!(%error, "a cgroup cannot be removed");
        }
    }
}

/// `killed`: the memory limit has killed something in it.
fn exit(ended: Ended, killed: bool) -> Exit {
    match ended {
        Ended::Signal(9) if killed => Exit::OutOfMemory,
        Ended::Signal(signal) => Exit::Signal(signal),
        Ended::Code(code) => Exit::Code(code),
    }
}

/// The error of a failed step of a sandbox.
pub(crate) fn system(id: &SandboxId, step: &str, error: impl Into<io::Error>) -> DriverError {
    DriverError::System { key: id.key.clone(), step: step.to_owned(), source: error.into() }
}
