//! What every driver must do, as one suite over `dyn Driver`.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use tidegate_sandbox::Driver;
//! # use tidegate_testkit::driver_conformance::{self, Subject};
//! # async fn check(driver: Arc<dyn Driver>, subject: Subject) {
//! for report in driver_conformance::run(driver, &subject).await {
//!     println!("{report}");
//! }
//! # }
//! ```

mod bench;
mod cases;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tidegate_sandbox::Driver;
use tidegate_types::Template;

use bench::Bench;

/// No case of a working driver takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the driver is given to run.
#[derive(Debug, Clone)]
pub struct Subject {
    /// A template that works with the driver; its command is replaced.
    pub template: Template,
    /// A Python 3 within the template's root.
    pub python: String,
}

/// What came of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The driver does it.
    Passed,
    /// The driver or this machine does not offer it: why.
    Skipped(String),
    /// The driver does something else: what.
    Failed(String),
}

/// One case and its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The fact that was checked.
    pub case: &'static str,
    /// Whether it holds.
    pub verdict: Verdict,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Passed => write!(f, "passed   {}", self.case),
            Verdict::Skipped(why) => write!(f, "skipped  {}: {why}", self.case),
            Verdict::Failed(why) => write!(f, "FAILED   {}: {why}", self.case),
        }
    }
}

/// Runs every case, each with sandboxes of its own, which it destroys.
pub async fn run(driver: Arc<dyn Driver>, subject: &Subject) -> Vec<Report> {
    let mut reports = Vec::new();
    for (number, (case, check)) in cases::ALL.iter().enumerate() {
        let bench = Bench::new(Arc::clone(&driver), subject.clone(), number);
        let checked = AssertUnwindSafe(check(&bench)).catch_unwind();
        let verdict = match tokio::time::timeout(PATIENCE, checked).await {
            Ok(Ok(Ok(None))) => Verdict::Passed,
            Ok(Ok(Ok(Some(why)))) => Verdict::Skipped(why),
            Ok(Ok(Err(error))) => Verdict::Failed(format!("{error:#}")),
            Ok(Err(_)) => Verdict::Failed("panicked".into()),
            Err(_) => Verdict::Failed(format!("took longer than {PATIENCE:?}")),
        };
        bench.clear().await;
        reports.push(Report { case, verdict });
    }
    reports
}
