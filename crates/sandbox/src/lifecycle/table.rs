//! The transition table: every state a sandbox can be in, every thing that can
//! happen to it, and what follows. Nothing else changes a sandbox's phase.
//!
//! ```text
//!            wake              ready              idle, stop, died
//!   absent ────────▶ starting ───────▶ running ────────────────────▶ stopping
//!   stopped ──────────▲  │ failed                                       │ cleaned
//!   failed ───────────┘  └────▶ failed         stopped ◀────────────────┘
//!
//!   destroy: from anywhere to destroying; removed: from there to absent
//! ```
//!
//! A state that rests with its memory kept joins here: a phase, the event that
//! leads to it and the `wake` that leads out.

/// What a sandbox is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// It was never started, or it was destroyed.
    Absent,
    /// Its application is being started and is not ready yet.
    Starting,
    /// It answers.
    Running,
    /// It is being ended; a request that arrives now waits and starts it again.
    Stopping,
    /// Nothing of it runs; its files are kept.
    Stopped,
    /// It could not be started, or not be cleaned up; the next attempt waits for
    /// the back-off.
    Failed,
    /// It is being removed, files included.
    Destroying,
}

impl Phase {
    /// Every phase, in the order of a life.
    pub const ALL: [Self; 7] = [
        Self::Absent,
        Self::Starting,
        Self::Running,
        Self::Stopping,
        Self::Stopped,
        Self::Failed,
        Self::Destroying,
    ];

    /// Stable name for the API, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Destroying => "destroying",
        }
    }
}

/// What can happen to a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// Someone needs it.
    Wake,
    /// Its application became ready.
    Ready,
    /// Its application did not become ready.
    StartFailed,
    /// Its process ended by itself.
    Died,
    /// Nobody used it for long enough.
    Idle,
    /// Someone asked for it to be stopped.
    Stop,
    /// Nothing of it runs any more.
    Cleaned,
    /// It could not be ended or removed.
    CleanFailed,
    /// Someone asked for it to be destroyed.
    Destroy,
    /// Nothing of it is left.
    Removed,
}

impl Event {
    /// Stable name, as whoever watches is told.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Wake => "wake",
            Self::Ready => "ready",
            Self::StartFailed => "start-failed",
            Self::Died => "died",
            Self::Idle => "idle",
            Self::Stop => "stop",
            Self::Cleaned => "cleaned",
            Self::CleanFailed => "clean-failed",
            Self::Destroy => "destroy",
            Self::Removed => "removed",
        }
    }

    #[cfg(test)]
    const ALL: [Self; 10] = [
        Self::Wake,
        Self::Ready,
        Self::StartFailed,
        Self::Died,
        Self::Idle,
        Self::Stop,
        Self::Cleaned,
        Self::CleanFailed,
        Self::Destroy,
        Self::Removed,
    ];
}

/// The phase that `event` leads to, or nothing where it cannot happen or means
/// nothing.
pub(crate) const fn next(phase: Phase, event: Event) -> Option<Phase> {
    use Event as E;
    use Phase as P;
    match (phase, event) {
        (P::Absent | P::Stopped | P::Failed, E::Wake) => Some(P::Starting),
        (P::Starting, E::Ready) => Some(P::Running),
        (P::Starting, E::StartFailed) => Some(P::Failed),
        (P::Running, E::Died | E::Idle) | (P::Starting | P::Running, E::Stop) => Some(P::Stopping),
        // Forgets the failure, and its back-off with it.
        (P::Failed, E::Stop) => Some(P::Stopped),
        (P::Stopping, E::Cleaned) => Some(P::Stopped),
        (P::Stopping | P::Destroying, E::CleanFailed) => Some(P::Failed),
        (P::Absent | P::Starting | P::Running | P::Stopped | P::Failed, E::Destroy) => {
            Some(P::Destroying)
        }
        (P::Destroying, E::Removed) => Some(P::Absent),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row per phase; one column per event, in the order of `Event::ALL`.
    const TABLE: &str = "
                 wake     ready   startfail died     idle     stop     cleaned cleanfail destroy    removed
    absent       starting -       -         -        -        -        -       -         destroying -
    starting     -        running failed    -        -        stopping -       -         destroying -
    running      -        -       -         stopping stopping stopping -       -         destroying -
    stopping     -        -       -         -        -        -        stopped failed    -          -
    stopped      starting -       -         -        -        -        -       -         destroying -
    failed       starting -       -         -        -        stopped  -       -         destroying -
    destroying   -        -       -         -        -        -        -       failed    -          absent";

    #[test]
    fn every_phase_and_event_lead_where_the_table_says() {
        let mut rows = TABLE.lines().filter(|line| !line.trim().is_empty()).skip(1);
        for phase in Phase::ALL {
            let row = rows.next().expect("a row per phase");
            let mut cells = row.split_whitespace();
            assert_eq!(cells.next(), Some(phase.as_str()));
            for event in Event::ALL {
                let expected = cells.next().expect("a column per event");
                let actual = next(phase, event).map_or("-", Phase::as_str);
                assert_eq!(actual, expected, "{phase:?} on {event:?}");
            }
        }
        assert_eq!(rows.next(), None);
    }

    #[test]
    fn no_phase_is_a_dead_end_and_every_phase_can_be_reached() {
        let mut reached = vec![Phase::Absent];
        let mut at = 0;
        while let Some(phase) = reached.get(at).copied() {
            let onward: Vec<_> = Event::ALL.iter().filter_map(|e| next(phase, *e)).collect();
            assert!(!onward.is_empty(), "{phase:?} is a dead end");
            for next in onward {
                if !reached.contains(&next) {
                    reached.push(next);
                }
            }
            at += 1;
        }
        assert_eq!(reached.len(), Phase::ALL.len());
    }
}
