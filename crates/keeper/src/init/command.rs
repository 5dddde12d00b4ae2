//! The process that becomes the tenant's command.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit};
use tidegate_keeper::protocol::{APP_ID, ENTER_WORKDIR, EXECUTE, Failure, Spawn};
use tidegate_keeper::sys::{process, signals};

use super::StageMessage;
use super::stage::tell;
use crate::confine;
use crate::failure::{During, failure};

/// Runs as the command-to-be. Returns never.
pub(super) fn run(spawn: &Spawn, stage: &OwnedFd, output: &OwnedFd, wait: &OwnedFd) -> ! {
    tell(stage, &StageMessage::Born);
    let failure = become_command(spawn, output, wait);
    tell(stage, &StageMessage::Failed(failure));
    process::exit(127)
}

fn become_command(spawn: &Spawn, output: &OwnedFd, wait: &OwnedFd) -> Failure {
    match prepare(spawn, output, wait) {
        Ok((program, arguments, environment)) => {
            let error = process::execute(&program, &arguments, &environment);
            failure(EXECUTE, error.raw_os_error().unwrap_or(libc::EIO))
        }
        Err(failure) => failure,
    }
}

type Program = (CString, Vec<CString>, Vec<CString>);

fn prepare(spawn: &Spawn, output: &OwnedFd, wait: &OwnedFd) -> Result<Program, Failure> {
    let texts = |texts: &[String]| {
        texts.iter().map(|text| CString::new(text.as_bytes())).collect::<Result<Vec<_>, _>>()
    };
    let bad = |_| failure(EXECUTE, libc::EINVAL);
    let arguments = texts(&spawn.command).map_err(bad)?;
    let environment = texts(&spawn.env.0).map_err(bad)?;
    let program = arguments.first().cloned().ok_or_else(|| failure(EXECUTE, libc::ENOENT))?;

    // A group of its own, so that SIGTERM reaches what it starts in a shell.
    rustix::process::setpgid(None, None).during("making a process group")?;
    limit(Resource::Core, Some(0))?;
    limit(Resource::Nofile, spawn.open_files)?;
    limit(Resource::Nproc, spawn.processes)?;
    rustix::process::umask(Mode::WGRP | Mode::WOTH);

    confine::give_up_privileges(APP_ID)?;
    rustix::process::chdir(spawn.workdir.as_str()).during(ENTER_WORKDIR)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .during("opening /dev/null")?;

    // Not before init can no longer be made to do anything for us.
    let mut go = [0];
    if rustix::io::retry_on_intr(|| rustix::io::read(wait, &mut go)) != Ok(1) {
        return Err(failure("waiting for init", libc::ECHILD));
    }
    process::place(null.as_fd(), 0).during("opening standard input")?;
    process::place(output.as_fd(), 1).during("opening standard output")?;
    process::place(output.as_fd(), 2).during("opening standard error")?;
    process::close_on_exec_from(3).during("closing descriptors")?;
    signals::reset();
    confine::write_where_allowed()?;
    confine::filter_system_calls()?;
    Ok((program, arguments, environment))
}

/// Sets both the current and the highest value: without CAP_SYS_RESOURCE there is
/// no way back. `None` leaves it.
fn limit(resource: Resource, value: Option<u64>) -> Result<(), Failure> {
    let Some(value) = value else { return Ok(()) };
    let highest = rustix::process::getrlimit(resource).maximum;
    let value = Some(highest.map_or(value, |highest| value.min(highest)));
    rustix::process::setrlimit(resource, Rlimit { current: value, maximum: value })
        .during("setting its limits")
}
