//! Connections to applications, kept for the next request.
//!
//! A connection is hyper's two halves: the sender and the connection proper. The
//! second is polled by whoever uses the connection, in the task that serves the
//! client: a small request costs no other task and no wake-up of one. In the pool
//! nobody polls it; a connection that was closed meanwhile is found out when it
//! is taken.

use std::collections::HashMap;
use std::future::Future as _;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tidegate_types::SandboxKey;

use crate::Upstream;
use crate::forward::ToSandbox;

pub(crate) type Sender = http1::SendRequest<ToSandbox>;
/// Boxed, because it is large and moves between the pool and its users.
pub(crate) type Connection = Box<http1::Connection<TokioIo<Upstream>, ToSandbox>>;

const SHARDS: usize = 16;

/// What a connection leads to. A connection is only ever used for its own key:
/// never for another sandbox, another life of it, another port, or another
/// client's address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) sandbox: SandboxKey,
    pub(crate) start: u64,
    pub(crate) port: u16,
    pub(crate) from: IpAddr,
}

/// An idle connection.
pub(crate) struct Idle {
    pub(crate) sender: Sender,
    pub(crate) connection: Connection,
    since: Instant,
}

/// Every idle connection of the process.
pub(crate) struct Pool {
    shards: [Mutex<HashMap<Key, Vec<Idle>>>; SHARDS],
    hasher: RandomState,
    per_key: usize,
}

impl Pool {
    pub(crate) fn new(per_key: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            per_key,
        }
    }

    /// The connection for `key` that was used last and still stands.
    pub(crate) fn take(&self, key: &Key) -> Option<(Sender, Connection)> {
        loop {
            let idle = self.with_shard(key, |shard| shard.get_mut(key).and_then(Vec::pop))?;
            let Idle { sender, mut connection, .. } = idle;
            // One look at the socket: the end of the stream, or bytes that nobody
            // asked for, finish the connection. Nobody needs waking.
            let mut cx = Context::from_waker(Waker::noop());
            let ended = Pin::new(&mut connection).poll(&mut cx).is_ready();
            if !ended && sender.is_ready() {
                return Some((sender, connection));
            }
        }
    }

    /// Keeps a connection that is ready for the next request.
    pub(crate) fn put(&self, key: Key, sender: Sender, connection: Connection) {
        let idle = Idle { sender, connection, since: Instant::now() };
        let per_key = self.per_key;
        // What has no room is dropped outside the lock: that closes a socket.
        let _surplus = self.with_shard(&key.clone(), move |shard| {
            let kept = shard.entry(key).or_default();
            if kept.len() < per_key {
                kept.push(idle);
                None
            } else {
                Some(idle)
            }
        });
    }

    /// Closes what was idle for longer than `limit`, and what its application closed.
    pub(crate) fn prune(&self, limit: Duration) {
        let now = Instant::now();
        let mut cx = Context::from_waker(Waker::noop());
        for shard in &self.shards {
            let mut gone = Vec::new();
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, kept| {
                gone.extend(kept.extract_if(.., |idle| {
                    now.saturating_duration_since(idle.since) > limit
                        || Pin::new(&mut idle.connection).poll(&mut cx).is_ready()
                }));
                !kept.is_empty()
            });
            drop(shard);
        }
    }

    /// Closes every idle connection to `sandbox`.
    pub(crate) fn forget(&self, sandbox: &SandboxKey) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let gone: Vec<_> = shard.extract_if(|key, _| key.sandbox == *sandbox).collect();
            drop(shard);
            drop(gone);
        }
    }

    fn with_shard<T>(&self, key: &Key, f: impl FnOnce(&mut HashMap<Key, Vec<Idle>>) -> T) -> T {
        let index = usize::try_from(self.hasher.hash_one(key)).unwrap_or_default() % SHARDS;
        let [first, ..] = &self.shards;
        let shard = self.shards.get(index).unwrap_or(first);
        f(&mut shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
