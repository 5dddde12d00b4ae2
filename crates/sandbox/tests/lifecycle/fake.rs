//! A driver that keeps its sandboxes in memory, survives registries, follows a
//! script, and notes every misuse.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tidegate_sandbox::driver::{
    Capabilities, Complaint, Dialled, Driver, DriverError, Exit, Files, Found, SandboxId, Spec,
    Stats,
};
use tidegate_types::{SandboxKey, Secret, Template};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// What the next starts do.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) create_fails: bool,
    /// The application ends right after its start.
    pub(crate) dies_at_once: bool,
    /// From the start until it accepts; `None` is never.
    pub(crate) ready_after: Option<Duration>,
    pub(crate) stop_takes: Duration,
    pub(crate) destroy_fails: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            create_fails: false,
            dies_at_once: false,
            ready_after: Some(Duration::from_millis(20)),
            stop_takes: Duration::from_millis(50),
            destroy_fails: false,
        }
    }
}

#[derive(Debug)]
struct Made {
    incarnation: u64,
    template: String,
    running: watch::Sender<Option<Exit>>,
    accepts_at: Option<tokio::time::Instant>,
    env: Vec<(String, String)>,
}

#[derive(Debug, Default)]
struct State {
    /// How often the gateway said that an application is over.
    over: u64,
    script: Script,
    made: HashMap<SandboxKey, Made>,
    /// Names whose files are there.
    files: HashMap<SandboxKey, u64>,
    /// Every changing call, in order.
    calls: Vec<String>,
    /// What a registry must never do.
    misuse: Vec<String>,
    /// Changing calls under way, by sandbox.
    busy: HashMap<SandboxKey, &'static str>,
    starting: usize,
    most_starting: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Fake(Mutex<State>);

/// Removes the note that a call is under way, also when the call is dropped.
struct Busy<'a>(&'a Fake, SandboxKey);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.lock().busy.remove(&self.1);
    }
}

impl Fake {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds this")
    }

    pub(crate) fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.lock().script);
    }

    pub(crate) fn note_over(&self) {
        self.lock().over += 1;
    }

    pub(crate) fn over(&self) -> u64 {
        self.lock().over
    }

    /// The calls so far; forgets them.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().calls)
    }

    pub(crate) fn count(&self, call: &str) -> usize {
        self.lock().calls.iter().filter(|c| c.starts_with(call)).count()
    }

    pub(crate) fn assert_used_well(&self) {
        assert_eq!(self.lock().misuse, Vec::<String>::new());
    }

    pub(crate) fn most_starting(&self) -> usize {
        self.lock().most_starting
    }

    pub(crate) fn is_running(&self, key: &SandboxKey) -> bool {
        self.lock().made.get(key).is_some_and(|made| made.running.borrow().is_none())
    }

    pub(crate) fn exists(&self, key: &SandboxKey) -> bool {
        self.lock().made.contains_key(key)
    }

    pub(crate) fn has_files(&self, key: &SandboxKey) -> bool {
        self.lock().files.contains_key(key)
    }

    pub(crate) fn env(&self, key: &SandboxKey) -> Vec<(String, String)> {
        self.lock().made.get(key).map(|made| made.env.clone()).unwrap_or_default()
    }

    /// Ends the application as if it had done so itself.
    pub(crate) fn kill(&self, key: &SandboxKey, exit: Exit) {
        if let Some(made) = self.lock().made.get(key) {
            made.running.send_if_modified(|running| running.replace(exit).is_none());
        }
    }

    /// Puts in a sandbox that nobody asked for.
    pub(crate) fn plant(&self, id: &SandboxId, running: bool) {
        let made = Made {
            incarnation: id.incarnation.0,
            template: "app".into(),
            running: watch::Sender::new((!running).then_some(Exit::Unknown)),
            accepts_at: Some(tokio::time::Instant::now()),
            env: Vec::new(),
        };
        let mut state = self.lock();
        state.made.insert(id.key.clone(), made);
        state.files.insert(id.key.clone(), id.incarnation.0);
    }

    /// Notes a changing call: no two for one sandbox at a time.
    fn call(&self, what: &'static str, id: &SandboxId) -> Busy<'_> {
        let mut state = self.lock();
        state.calls.push(format!("{what} {} {}", id.key.name, id.incarnation));
        if let Some(other) = state.busy.insert(id.key.clone(), what) {
            state.misuse.push(format!("{what} during {other} of {}", id.key));
        }
        Busy(self, id.key.clone())
    }

    fn current(state: &State, id: &SandboxId) -> Result<(), DriverError> {
        match state.made.get(&id.key) {
            None => Err(DriverError::Absent(id.key.clone())),
            Some(made) if made.incarnation == id.incarnation.0 => Ok(()),
            Some(made) => Err(DriverError::Stale {
                meant: id.clone(),
                current: tidegate_types::Incarnation(made.incarnation),
            }),
        }
    }

    fn broken(id: &SandboxId, step: &str) -> DriverError {
        DriverError::System {
            key: id.key.clone(),
            step: step.to_owned(),
            source: std::io::Error::other("as the script says"),
        }
    }
}

#[async_trait]
impl Driver for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { survives_gateway: true, ..Capabilities::default() }
    }

    fn check(&self, _: &Template) -> Vec<Complaint> {
        Vec::new()
    }

    async fn create(&self, spec: &Spec) -> Result<(), DriverError> {
        let id = &spec.id;
        let _busy = self.call("create", id);
        sleep(Duration::from_millis(3)).await;
        let mut state = self.lock();
        if state.script.create_fails {
            return Err(Self::broken(id, "creating"));
        }
        if state.made.contains_key(&id.key) {
            state.misuse.push(format!("{} was created twice", id.key));
        }
        if state.files.get(&id.key).is_some_and(|earlier| *earlier > id.incarnation.0) {
            state.misuse.push(format!("{} went back to an earlier incarnation", id.key));
        }
        let made = Made {
            incarnation: id.incarnation.0,
            template: spec.template.name.to_string(),
            running: watch::Sender::new(Some(Exit::Unknown)),
            accepts_at: None,
            env: Vec::new(),
        };
        state.made.insert(id.key.clone(), made);
        state.files.insert(id.key.clone(), id.incarnation.0);
        Ok(())
    }

    async fn start(&self, id: &SandboxId, env: &[(String, Secret)]) -> Result<(), DriverError> {
        let _busy = self.call("start", id);
        sleep(Duration::from_millis(3)).await;
        let mut state = self.lock();
        Self::current(&state, id)?;
        state.starting += 1;
        state.most_starting = state.most_starting.max(state.starting);
        let script = state.script.clone();
        let Some(made) = state.made.get_mut(&id.key) else { return Ok(()) };
        if made.running.borrow().is_none() {
            let misuse = format!("{} was started twice", id.key);
            state.misuse.push(misuse);
            return Ok(());
        }
        made.env = env.iter().map(|(n, v)| (n.clone(), v.reveal().to_owned())).collect();
        made.accepts_at = script.ready_after.map(|after| tokio::time::Instant::now() + after);
        made.running.send_replace(script.dies_at_once.then_some(Exit::Code(1)));
        Ok(())
    }

    async fn dial(&self, id: &SandboxId, port: u16, _: IpAddr) -> Result<Dialled, DriverError> {
        let mut state = self.lock();
        Self::current(&state, id)?;
        let made = state.made.get(&id.key).expect("current");
        let runs = made.running.borrow().is_none();
        let accepts = made.accepts_at.is_some_and(|at| at <= tokio::time::Instant::now());
        if runs && accepts {
            state.starting = state.starting.saturating_sub(1);
            let (ours, _) = UnixStream::pair().expect("descriptors");
            Ok(Dialled::Unix(ours))
        } else {
            Err(DriverError::Refused { key: id.key.clone(), port })
        }
    }

    async fn listener(&self, _: &SandboxId, _: &str) -> Result<TcpListener, DriverError> {
        Err(DriverError::Unsupported("no listeners".into()))
    }

    async fn freeze(&self, _: &SandboxId) -> Result<(), DriverError> {
        Err(DriverError::Unsupported("no freezing".into()))
    }

    async fn thaw(&self, _: &SandboxId) -> Result<(), DriverError> {
        Err(DriverError::Unsupported("no freezing".into()))
    }

    async fn stop(&self, id: &SandboxId, grace: Duration) -> Result<Exit, DriverError> {
        let _busy = self.call("stop", id);
        let takes = self.lock().script.stop_takes.min(grace);
        sleep(takes).await;
        let state = self.lock();
        Self::current(&state, id)?;
        if let Some(made) = state.made.get(&id.key) {
            made.running.send_if_modified(|running| running.replace(Exit::Signal(15)).is_none());
        }
        Ok(Exit::Signal(15))
    }

    async fn destroy(&self, id: &SandboxId, files: Files) -> Result<(), DriverError> {
        let what = if files == Files::Remove { "destroy" } else { "clear" };
        let _busy = self.call(what, id);
        sleep(Duration::from_millis(3)).await;
        let mut state = self.lock();
        if state.script.destroy_fails {
            return Err(Self::broken(id, "removing"));
        }
        match Self::current(&state, id) {
            Err(DriverError::Absent(_)) => {}
            current => current?,
        }
        if let Some(made) = state.made.remove(&id.key) {
            made.running.send_if_modified(|running| running.replace(Exit::Signal(9)).is_none());
        }
        if files == Files::Remove {
            state.files.remove(&id.key);
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Found>, DriverError> {
        let state = self.lock();
        let found = |(key, made): (&SandboxKey, &Made)| Found {
            id: SandboxId {
                key: key.clone(),
                incarnation: tidegate_types::Incarnation(made.incarnation),
            },
            running: made.running.borrow().is_none(),
            started_at: None,
            template: made.template.clone(),
        };
        Ok(state.made.iter().map(found).collect())
    }

    async fn wait(&self, id: &SandboxId) -> Result<Exit, DriverError> {
        let mut running = {
            let state = self.lock();
            Self::current(&state, id)?;
            state.made.get(&id.key).expect("current").running.subscribe()
        };
        let ended = running.wait_for(Option::is_some).await;
        Ok(ended.ok().and_then(|exit| *exit).unwrap_or(Exit::Unknown))
    }

    async fn stats(&self, id: &SandboxId) -> Result<Stats, DriverError> {
        Self::current(&self.lock(), id)?;
        Ok(Stats { memory: Some(1), ..Stats::default() })
    }

    fn log_path(&self, key: &SandboxKey) -> PathBuf {
        PathBuf::from(format!("/logs/{}", key.name))
    }
}

pub(crate) fn driver(fake: &Arc<Fake>) -> Arc<dyn Driver> {
    Arc::clone(fake) as Arc<dyn Driver>
}
