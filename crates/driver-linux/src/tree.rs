//! A sandbox's processes where no cgroup counts or freezes them: pid 1 inside and
//! all its descendants, found in /proc.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tidegate_sandbox::driver::Stats;

/// Rounds after which a tree that grows as fast as it is stopped is given up.
const ROUNDS: usize = 50;

/// Init and everything beneath it. What is orphaned inside becomes init's, so
/// nothing gets away.
fn processes(init: u32) -> Vec<u32> {
    let mut all = vec![init];
    let mut at = 0;
    while let Some(&pid) = all.get(at) {
        at += 1;
        for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    all
}

/// Stops all but init, which does nothing by itself.
///
/// # Errors
/// `TimedOut` when it keeps growing.
pub(crate) fn stop(init: u32) -> io::Result<()> {
    for _ in 0..ROUNDS {
        let moving: Vec<_> = processes(init)
            .into_iter()
            .skip(1)
            .filter(|pid| state(*pid).is_some_and(runs))
            .collect();
        if moving.is_empty() {
            return Ok(());
        }
        for pid in moving {
            signal(pid, Signal::STOP)?;
        }
        std::thread::yield_now();
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Lets all go on.
pub(crate) fn go_on(init: u32) -> io::Result<()> {
    processes(init).into_iter().skip(1).try_for_each(|pid| signal(pid, Signal::CONT))
}

fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    match rustix::process::kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Neither stopped nor dead.
fn runs(state: char) -> bool {
    !matches!(state, 'T' | 't' | 'Z' | 'X')
}

fn state(pid: u32) -> Option<char> {
    fields(pid)?.first()?.chars().next()
}

/// `/proc/PID/stat` from its third field on: the second is a name and may hold
/// anything.
fn fields(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = text.rsplit_once(')')?;
    Some(after.split_whitespace().map(str::to_owned).collect())
}

/// `USER_HZ`, in which /proc counts time: 100 on every architecture we run on.
const TICKS_PER_SECOND: u64 = 100;

/// What they use together: memory as proportional shares are not readable without
/// rights, so resident memory, in which shared pages count more than once.
pub(crate) fn stats(init: u32) -> Stats {
    let (mut memory, mut ticks, mut pids) = (0, 0, 0);
    for pid in processes(init) {
        let Some(fields) = fields(pid) else { continue };
        let number =
            |index: usize| fields.get(index).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
        // proc_pid_stat(5), counted from field 3: utime, stime and those of reaped
        // children, then threads.
        ticks += number(11) + number(12) + number(13) + number(14);
        pids += u32::try_from(number(17)).unwrap_or(0);
        memory += resident(pid).unwrap_or(0);
    }
    let cpu = Duration::from_millis(ticks.saturating_mul(1000) / TICKS_PER_SECOND);
    Stats { memory: Some(memory), cpu: Some(cpu), pids: Some(pids), disk: None }
}

fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}
