//! Accounts as the gateway uses them, under a clock that stands still until it is
//! told to go on.

mod exact;
mod levels;
mod memory;
mod restart;
mod shared;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_quota::{Account, Clock, QuotaConfig, Quotas};
use tidegate_types::{Identity, Limit, LimitKind, Meter, Scope, SubjectId, TenantId};

/// Both clocks of a machine, in microseconds.
#[derive(Debug, Default)]
struct Hands {
    monotonic: AtomicU64,
    wall: AtomicU64,
}

impl Hands {
    fn go_on(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).expect("not that long");
        self.monotonic.fetch_add(micros, SeqCst);
        self.wall.fetch_add(micros, SeqCst);
    }
}

impl Clock for Hands {
    fn micros(&self) -> u64 {
        self.monotonic.load(SeqCst)
    }

    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.wall.load(SeqCst))
    }
}

struct House {
    quotas: Arc<Quotas>,
    clock: Arc<Hands>,
    directory: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(Hands::default());
        Self { quotas: open(directory.path(), &clock), clock, directory }
    }

    /// The gateway's process ends well and another one begins after `away`.
    fn restart(self, away: Duration) -> Self {
        self.quotas.close();
        let clock = Arc::new(Hands::default());
        clock.wall.store(self.clock.wall.load(SeqCst), SeqCst);
        clock.go_on(away);
        // Another process has another origin of time.
        clock.monotonic.store(12_345_678, SeqCst);
        Self { quotas: open(self.directory.path(), &clock), clock, directory: self.directory }
    }

    fn account(&self, tenant: &str, subject: &str, limits: &[Limit]) -> Account {
        self.quotas.account(&identity(tenant, subject), limits)
    }

    /// Waits until the saver has looked through everything so many times more.
    fn let_the_saver_look(&self, settled: impl Fn() -> bool) {
        let begun = std::time::Instant::now();
        while !settled() {
            assert!(begun.elapsed() < Duration::from_secs(60), "never: {:?}", self.quotas);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn open(directory: &Path, clock: &Arc<Hands>) -> Arc<Quotas> {
    let state_dir = directory.to_owned();
    Quotas::open(QuotaConfig { state_dir, clock: clock.clone() }).expect("it opens")
}

fn identity(tenant: &str, subject: &str) -> Identity {
    Identity {
        subject: SubjectId::new(subject).expect("valid"),
        tenant: TenantId::new(tenant).expect("valid"),
        claims: Vec::new(),
    }
}

fn rate(meter: Meter, amount: u64, per: Duration, burst: u64, scope: Scope) -> Limit {
    Limit { meter, kind: LimitKind::Rate { amount, per, burst }, scope }
}

fn ceiling(meter: Meter, most: u64, scope: Scope) -> Limit {
    Limit { meter, kind: LimitKind::Ceiling(most), scope }
}

/// Takes one at a time until it is refused; answers how many there were.
fn drain(account: &Account, meter: Meter) -> u64 {
    (0..).take_while(|_| account.take(meter, 1).is_ok()).count() as u64
}
