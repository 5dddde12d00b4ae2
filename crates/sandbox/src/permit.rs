//! A request's right to be in its sandbox.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_types::SubjectId;

use crate::cause::Cause;
use crate::driver::{Dialled, DriverError};
use crate::sandbox::Sandbox;
use crate::word::Epoch;

/// One request in its sandbox. While it is *in flight* the sandbox stays awake;
/// dropping it ends that. Hold it until the last byte of the answer.
///
/// After [`upgraded`](Self::upgraded) it is *attached*: an open connection that
/// keeps nothing awake. Only [`touch`](Self::touch) does then.
///
/// A *visitor's* permit keeps nothing awake from the start, whatever its client
/// does: when the sandbox goes to rest, it is told to close.
#[derive(Debug)]
pub struct Permit {
    sandbox: Arc<Sandbox>,
    epoch: Epoch,
    visitor: bool,
    attached: AtomicBool,
}

impl Permit {
    /// For a request that the word has counted in.
    pub(crate) fn new(sandbox: Arc<Sandbox>, epoch: Epoch) -> Self {
        Self { sandbox, epoch, visitor: false, attached: AtomicBool::new(false) }
    }

    /// For a request that is counted among the visitors.
    pub(crate) fn of_visitor(sandbox: Arc<Sandbox>, epoch: Epoch) -> Self {
        Self { sandbox, epoch, visitor: true, attached: AtomicBool::new(false) }
    }

    /// Where it was let in.
    #[must_use]
    pub fn sandbox(&self) -> &Arc<Sandbox> {
        &self.sandbox
    }

    /// Changes with each start of a sandbox, and is never that of another one in
    /// this process: what connections to it are pooled under.
    #[must_use]
    pub fn start_number(&self) -> u64 {
        self.sandbox.start_number()
    }

    /// Connects to `port` inside; the application sees `from` as its peer, where
    /// the driver can do that.
    ///
    /// # Cancel safety
    /// Can be dropped without effect.
    ///
    /// # Errors
    /// As [`Driver::dial`](crate::Driver::dial).
    pub async fn dial(&self, port: u16, from: IpAddr) -> Result<Dialled, DriverError> {
        let id = self.sandbox.id();
        match self.sandbox.driver() {
            Some(driver) => driver.dial(id, port, from).await,
            None => Err(DriverError::Absent(id.key.clone())),
        }
    }

    /// Whether it is a visitor's.
    #[must_use]
    pub fn is_visitor(&self) -> bool {
        self.visitor
    }

    /// Notes a byte from the client: the sandbox's idle clock starts anew. Costs a
    /// look at the clock and three atomic operations. A visitor's bytes don't count.
    pub fn touch(&self, by: &SubjectId) {
        if !self.visitor {
            self.sandbox.touch();
            // Before that, its request is the cause.
            if self.attached.load(Ordering::Relaxed) {
                self.sandbox.note_cause(|| Cause::bytes(by));
            }
        }
    }

    /// Makes it attached: the request became a WebSocket or another connection
    /// that stays. Once is enough, more does nothing.
    pub fn upgraded(&self) {
        if !self.attached.swap(true, Ordering::SeqCst) {
            self.sandbox.attach();
            if self.visitor {
                self.sandbox.end_visit();
            } else {
                self.sandbox.note_activity();
                self.sandbox.word.leave();
            }
        }
    }

    /// Waits until its connections shall close: the sandbox goes to rest, is
    /// stopped, or its application ended.
    ///
    /// # Cancel safety
    /// Can be dropped and called again without effect.
    pub async fn closing(&self) {
        let mut told = self.sandbox.told();
        let epoch = self.epoch;
        // The sender lives as long as the sandbox, which this permit holds.
        let _ = told.wait_for(|told| *told >= epoch).await;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.attached.load(Ordering::SeqCst) {
            self.sandbox.detach();
        } else if self.visitor {
            self.sandbox.end_visit();
        } else {
            // In this order: who sees nothing in flight sees how recent that is.
            self.sandbox.note_activity();
            self.sandbox.word.leave();
        }
    }
}
