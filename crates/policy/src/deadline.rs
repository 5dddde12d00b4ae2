//! How long a call may compute.
//!
//! The engine interrupts by the clock on the wall; a plugin is to be blamed for
//! the processor's time alone: on a busy machine a call of ten microseconds may
//! wait ten milliseconds for its turn, and failing it would turn load into
//! outages. So the first interruption only begins to measure, which costs calls
//! that end in time nothing.

use std::time::{Duration, Instant};

use wasmtime::UpdateDeadline;

use crate::clock::TICK;

/// The longest deadline that may be given. The engine's clock rests only when
/// nothing asked for it in a longer time than this.
pub(crate) const MAX_DEADLINE: Duration = Duration::from_secs(60);

/// What a call may take on the wall for each unit of its deadline, and at least:
/// a short call that isn't given a processor for a tenth of a second, on a machine
/// that compiles, has done nothing wrong.
const PATIENCE: u32 = 8;
const AT_LEAST: Duration = Duration::from_secs(1);

/// What counts against a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// The processor time of the thread that the call began on, and ends on.
    Processor,
    /// The time on the wall without what the host took to answer: the call may
    /// move from thread to thread, and others run on them meanwhile.
    Wall,
}

/// The deadline of one call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    started: Instant,
    limit: Duration,
    measure: Measure,
    /// What the host took to answer, where that isn't the plugin's time.
    waited: Duration,
    /// The thread's CPU time at the first interruption.
    measured_from: Option<Duration>,
    /// Whether it was the plugin that took too long, and not the machine.
    blame: bool,
}

impl Deadline {
    /// Begins now.
    pub(crate) fn of(limit: Duration, measure: Measure) -> Self {
        let waited = Duration::ZERO;
        Self { started: Instant::now(), limit, measure, waited, measured_from: None, blame: false }
    }

    /// Takes `time` off what counts: the plugin waited for the host.
    pub(crate) fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// How long the plugin itself has taken so far.
    pub(crate) fn own(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.waited)
    }

    /// Ticks until the first interruption: half of the limit. One more because
    /// the tick that is under way counts for nothing.
    pub(crate) fn first_ticks(&self) -> u64 {
        ticks(self.limit / 2) + 1
    }

    fn on_the_wall(&self) -> Duration {
        (self.limit * PATIENCE).max(AT_LEAST)
    }

    /// What happens at an interruption.
    pub(crate) fn interrupted(&mut self) -> UpdateDeadline {
        if self.measure == Measure::Wall {
            let left = self.on_the_wall().saturating_sub(self.own());
            return match left {
                Duration::ZERO => UpdateDeadline::Interrupt,
                left => UpdateDeadline::Continue(ticks(left)),
            };
        }
        let cpu = cpu_time();
        let from = *self.measured_from.get_or_insert(cpu);
        let left = (self.limit / 2).saturating_sub(cpu.saturating_sub(from));
        self.blame = left.is_zero();
        if self.blame || self.started.elapsed() > self.on_the_wall() {
            UpdateDeadline::Interrupt
        } else {
            UpdateDeadline::Continue(ticks(left))
        }
    }

    /// Whether the time is up, for those whom nothing interrupts: the host's own
    /// functions, before they begin what may take long. Asks the clock on the wall
    /// alone while half of the limit is left by it.
    pub(crate) fn over(&mut self) -> bool {
        self.started.elapsed() >= self.limit / 2
            && matches!(self.interrupted(), UpdateDeadline::Interrupt)
    }

    /// Whether what ran out was processor time. By the clock on the wall nobody
    /// can tell a plugin that loops from a machine that is busy.
    pub(crate) fn is_to_blame(&self) -> bool {
        self.blame
    }
}

fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX).max(1)
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computing_counts_and_waiting_does_not() {
        let mut deadline = Deadline::of(Duration::from_secs(3600), Measure::Processor);
        assert!(matches!(deadline.interrupted(), UpdateDeadline::Continue(1_800_000)));
        // Half an hour is left; it has not been computed away since.
        assert!(matches!(deadline.interrupted(), UpdateDeadline::Continue(_)));
        deadline.limit = Duration::ZERO;
        assert!(matches!(deadline.interrupted(), UpdateDeadline::Interrupt));
    }

    #[test]
    fn what_the_host_took_to_answer_is_not_the_plugins_time() {
        let mut deadline = Deadline::of(Duration::from_secs(1), Measure::Wall);
        deadline.started = Instant::now() - Duration::from_secs(60);
        deadline.waited(Duration::from_secs(59));
        assert!(matches!(deadline.interrupted(), UpdateDeadline::Continue(_)));
        deadline.waited = Duration::ZERO;
        assert!(matches!(deadline.interrupted(), UpdateDeadline::Interrupt));
    }
}
