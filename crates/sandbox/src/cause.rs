//! What made a sandbox wake, or kept it awake last: for people who ask why.
//!
//! Noting one is on every request's way, so it is nearly free: within a second of
//! the last note it is one atomic load, and only after that something is allocated
//! and swapped in. So what is told may be up to a second older than the last use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use tidegate_types::SubjectId;

/// The least time between two notes, in milliseconds.
const PAUSE: u64 = 1_000;

/// The longest piece of a path that is kept, in bytes.
const LONGEST: usize = 80;

/// Who used a sandbox, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// How.
    pub what: What,
    /// Whose request or connection it was; `None` for the operator.
    pub by: Option<SubjectId>,
}

/// How a sandbox was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// By a request: its method and path, without its query.
    Request(String),
    /// By bytes on a connection that was open already.
    Bytes,
    /// It was woken by an order.
    Order,
}

impl Cause {
    /// A request. A long path is cut.
    #[must_use]
    pub fn request(method: &str, path: &str, by: &SubjectId) -> Self {
        let short = path.get(..path.floor_char_boundary(LONGEST)).unwrap_or_default();
        let dots = if short.len() < path.len() { "…" } else { "" };
        Self { what: What::Request(format!("{method} {short}{dots}")), by: Some(by.clone()) }
    }

    /// Bytes on an open connection.
    #[must_use]
    pub fn bytes(by: &SubjectId) -> Self {
        Self { what: What::Bytes, by: Some(by.clone()) }
    }
}

/// The last cause that was noted.
#[derive(Debug, Default)]
pub(crate) struct LastCause {
    cause: ArcSwapOption<Cause>,
    /// When, plus one, in milliseconds; 0 is never.
    at: AtomicU64,
}

impl LastCause {
    /// Notes what `cause` says, unless something was noted in this second.
    pub(crate) fn note(&self, now: u64, cause: impl FnOnce() -> Cause) {
        let last = self.at.load(Ordering::Relaxed);
        if last > 0 && now.saturating_sub(last - 1) < PAUSE {
            return;
        }
        // Whoever loses the race comes from the same moment.
        let won = self.at.compare_exchange(last, now + 1, Ordering::Relaxed, Ordering::Relaxed);
        if won.is_ok() {
            self.cause.store(Some(Arc::new(cause())));
        }
    }

    pub(crate) fn get(&self) -> Option<Arc<Cause>> {
        self.cause.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(subject: &str) -> SubjectId {
        SubjectId::new(subject).expect("valid")
    }

    #[test]
    fn one_cause_is_noted_in_a_second_and_others_cost_nothing() {
        let last = LastCause::default();
        assert_eq!(last.get(), None);
        last.note(0, || Cause::request("GET", "/first", &by("alice")));
        last.note(999, || unreachable!("not built"));
        let expected = Cause::request("GET", "/first", &by("alice"));
        assert_eq!(last.get().as_deref(), Some(&expected));
        last.note(1_000, || Cause::bytes(&by("bob")));
        assert_eq!(last.get().as_deref(), Some(&Cause::bytes(&by("bob"))));
    }

    #[test]
    fn a_long_path_is_cut_between_characters() {
        let path = format!("/{}ü", "x".repeat(78));
        let Cause { what: What::Request(line), .. } = Cause::request("GET", &path, &by("a")) else {
            panic!("a request");
        };
        assert_eq!(line, format!("GET /{}…", "x".repeat(78)));
    }
}
