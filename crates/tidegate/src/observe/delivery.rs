//! From the queue to the observers: batches, one lane for each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_policy::PolicyHost;
use tidegate_types::{Event, PluginName};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Meters, Observer};

/// Events of one batch at most: few enough that handing them over, which is on the
/// plugin's time, takes a small part of the shortest deadline that makes sense.
const BATCH: usize = 64;
/// How long the first event of a batch waits for more.
const GATHERING: Duration = Duration::from_millis(200);
/// Batches that wait for one observer.
const LANE: usize = 128;

/// The task that hands events on. Dropping it ends it where it stands.
pub(crate) struct Delivery {
    task: AbortOnDropHandle<()>,
    closing: CancellationToken,
    policy: Arc<PolicyHost>,
}

type Batch = Arc<[Event]>;

/// What the task owns.
struct Dispatcher {
    policy: Arc<PolicyHost>,
    meters: Arc<Meters>,
    lanes: HashMap<PluginName, mpsc::Sender<Batch>>,
    /// One for each lane, and for those that are being finished.
    tellers: JoinSet<()>,
}

impl Delivery {
    /// Hands what `observer` takes to the observers of whichever generation serves.
    pub(crate) fn start(
        observer: &Observer,
        events: mpsc::Receiver<Event>,
        policy: Arc<PolicyHost>,
    ) -> Self {
        let closing = CancellationToken::new();
        let dispatcher = Dispatcher {
            policy: Arc::clone(&policy),
            meters: Arc::clone(observer.meters()),
            lanes: HashMap::new(),
            tellers: JoinSet::new(),
        };
        let task = tokio::spawn(dispatcher.run(events, closing.clone()));
        Self { task: AbortOnDropHandle::new(task), closing, policy }
    }

    /// Hands on what is left, lets observers finish and their journals be written, all
    /// together within `within`; what isn't done then is lost.
    ///
    /// # Cancel safety
    /// When dropped, what is left is lost.
    pub(crate) async fn close(self, within: Duration) {
        let Self { task, closing, policy } = self;
        let until = Instant::now() + within;
        closing.cancel();
        if timeout_at(until, task).await.is_err() {
            tracing::warn!("observers were not told everything before the end");
        }
        let left = until.saturating_duration_since(Instant::now());
        let flushed = tokio::task::spawn_blocking(move || policy.flush_journals(left));
        if !matches!(timeout(left, flushed).await, Ok(Ok(true))) {
            tracing::warn!("journals were not written to their end");
        }
    }
}

impl Dispatcher {
    async fn run(mut self, mut events: mpsc::Receiver<Event>, closing: CancellationToken) {
        while let Some(batch) = gather(&mut events, &closing).await {
            self.hand_out(&batch);
        }
        // The end: now there is time to wait for observers, but none for more events.
        events.close();
        let mut batch = Vec::new();
        while events.recv_many(&mut batch, BATCH).await > 0 {
            let batch: Batch = std::mem::take(&mut batch).into();
            self.refresh_lanes();
            for lane in self.lanes.values() {
                // A teller ends before its lane only when it panicked.
                let _ = lane.send(Arc::clone(&batch)).await;
            }
        }
        self.lanes.clear();
        while self.tellers.join_next().await.is_some() {}
    }

    fn hand_out(&mut self, batch: &Batch) {
        self.refresh_lanes();
        for lane in self.lanes.values() {
            if lane.try_send(Arc::clone(batch)).is_err() {
                self.meters.observer_slow.add(batch.len() as u64);
            }
        }
    }

    /// A lane for each observer of the generation that serves, and for nobody else.
    fn refresh_lanes(&mut self) {
        while self.tellers.try_join_next().is_some() {}
        let serving = self.policy.current();
        let observers: Vec<_> = serving.observers().cloned().collect();
        // What waits in the lane of one that is gone is told to nobody.
        self.lanes.retain(|name, lane| observers.contains(name) && !lane.is_closed());
        for observer in observers {
            if !self.lanes.contains_key(&observer) {
                let (lane, batches) = mpsc::channel(LANE);
                let (policy, meters) = (Arc::clone(&self.policy), Arc::clone(&self.meters));
                self.tellers.spawn(tell(observer.clone(), batches, policy, meters));
                self.lanes.insert(observer, lane);
            }
        }
    }
}

/// The next batch: what comes within [`GATHERING`] of its first event. `None` when it
/// is time to end.
async fn gather(events: &mut mpsc::Receiver<Event>, closing: &CancellationToken) -> Option<Batch> {
    let mut batch = Vec::with_capacity(BATCH);
    let first = tokio::select! {
        biased;
        () = closing.cancelled() => return None,
        first = events.recv() => first?,
    };
    batch.push(first);
    let until = Instant::now() + GATHERING;
    while batch.len() < BATCH {
        let room = BATCH - batch.len();
        tokio::select! {
            biased;
            () = closing.cancelled() => break,
            more = timeout_at(until, events.recv_many(&mut batch, room)) => {
                if !matches!(more, Ok(1..)) {
                    break;
                }
            }
        }
    }
    Some(batch.into())
}

/// Tells one observer, batch by batch, until its lane is closed. Whatever generation
/// serves at the time is the one that is asked.
async fn tell(
    observer: PluginName,
    mut batches: mpsc::Receiver<Batch>,
    policy: Arc<PolicyHost>,
    meters: Arc<Meters>,
) {
    while let Some(batch) = batches.recv().await {
        let (generation, count) = (policy.current(), batch.len() as u64);
        let observer = observer.clone();
        // Plugins compute on the thread that asks them.
        let told = tokio::task::spawn_blocking(move || {
            Handle::current().block_on(generation.observe_by(&observer, &batch))
        });
        if !matches!(told.await, Ok(true)) {
            meters.observer_failed.add(count);
        }
    }
}
