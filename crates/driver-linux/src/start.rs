//! Starting the command.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use tidegate_keeper::plan::{Access, Origin, Plan, Step};
use tidegate_keeper::protocol::{
    Call, ENTER_WORKDIR, EXECUTE, Environment, Failure, Ids, Reply, Signal, Spawn,
};
use tidegate_sandbox::driver::{DriverError, SandboxId};
use tidegate_types::Secret;

use crate::cgroup::{Group, Role};
use crate::compose::{self, HOME, Parts, Writable};
use crate::create::{blocking, hostname};
use crate::driver::LinuxDriver;
use crate::link::LinkError;
use crate::sandbox::{Running, Sandbox, system};
use crate::{disk, files};

/// Variables that every command has unless its template says otherwise.
const DEFAULTS: [(&str, &str); 5] = [
    ("HOME", HOME),
    ("LANG", "C.UTF-8"),
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("SHELL", "/bin/sh"),
    ("USER", "user"),
];

impl LinuxDriver {
    pub(crate) async fn start_command(
        &self,
        id: &SandboxId,
        env: &[(String, Secret)],
    ) -> Result<(), DriverError> {
        let sandbox = self.find(id).await?;
        if matches!(sandbox.running(), Running::Yes { .. } | Running::Starting(_)) {
            let error = io::Error::new(io::ErrorKind::AlreadyExists, "it runs already");
            return Err(system(id, "starting the command", error));
        }
        let (plan, mounts) = self.build_plan(&sandbox).await?;
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let name = format!(
            "{}.{}.{}.{}-{run}",
            id.key.tenant.path_component(),
            id.key.name,
            id.incarnation,
            std::process::id()
        );
        let limits = sandbox.recipe.limits();
        let group = self
            .cgroups
            .make(&name, &limits)
            .map_err(|error| system(id, "making its cgroups", error))?;
        sandbox.state.send_replace(Running::Starting(group.clone()));
        let started = self.start_in(&sandbox, &group, plan, mounts, env).await;
        if started.is_err() {
            // Whatever exists of it; there may be nothing.
            drop(sandbox.link.call(Call::Signal(Signal::Kill), &[]).await);
            if let Err(error) = group.remove().await {
                tracing::warn!(sandbox = %id.key, %error, "a cgroup cannot be removed");
            }
            sandbox.state.send_if_modified(|state| {
                let ours = matches!(state, Running::Starting(_));
                if ours {
                    *state = Running::No(None);
                }
                ours
            });
        }
        started
    }

    async fn start_in(
        &self,
        sandbox: &Arc<Sandbox>,
        group: &Group,
        plan: Plan,
        mounts: Vec<OwnedFd>,
        env: &[(String, Secret)],
    ) -> Result<(), DriverError> {
        let id = &sandbox.id;
        let notes = postcard::to_stdvec(group)
            .map_err(|error| system(id, "starting the command", io::Error::other(error)))?;
        // Where cgroups count them they count threads of all users together; else
        // the resource limit does, which is per user of the sandbox's namespace.
        let processes = match self.cgroups.has(Role::Pids) {
            true => None,
            false => sandbox.recipe.limits().pids.map(u64::from),
        };
        let spawn = Spawn {
            plan,
            command: sandbox.recipe.command.clone(),
            env: environment(env),
            workdir: sandbox.recipe.workdir.clone(),
            hostname: hostname(id),
            open_files: sandbox.recipe.open_files,
            processes,
            notes,
        };
        let failed = |error: LinkError| failure(sandbox, error);
        let held = sandbox.link.call(Call::Spawn(spawn), &mounts).await.map_err(failed)?;
        drop(mounts);
        let (Reply::Held(init), _) = held else {
            return Err(system(id, "starting the command", io::ErrorKind::InvalidData));
        };
        // It has done nothing yet: all that it will ever do is counted.
        group.add(init).map_err(|error| system(id, "entering its cgroups", error))?;
        sandbox.link.call(Call::Go, &[]).await.map_err(failed)?;
        let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Milliseconds, as the keeper tells it after a restart of ours.
        let since =
            UNIX_EPOCH + Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(0));
        sandbox.state.send_if_modified(|state| {
            // It may have ended meanwhile.
            let starting = matches!(state, Running::Starting(_));
            if starting {
                *state = Running::Yes { init, since, group: group.clone() };
            }
            starting
        });
        Ok(())
    }

    async fn build_plan(
        &self,
        sandbox: &Arc<Sandbox>,
    ) -> Result<(Plan, Vec<OwnedFd>), DriverError> {
        let (program, shared) = (self.state.program().to_owned(), Arc::clone(sandbox));
        let work = move || -> io::Result<(Plan, Vec<OwnedFd>)> {
            let (place, record) = (&shared.place, &shared.record);
            let mut mounts = Vec::new();
            let files = place.files();
            let on_disk = disk::exists(place);
            if on_disk {
                let mount = disk::mount(place)?;
                files::prepare(&mount, record)?;
                mounts.push(mount);
            } else {
                files::prepare(&files::open_directory(&files)?, record)?;
            }
            let writable = if on_disk { Writable::Disk(0) } else { Writable::Directory(&files) };
            let mut plan = compose::compose(&Parts {
                recipe: &shared.recipe,
                program: &program,
                writable,
                hostname: &hostname(&shared.id),
            })?;
            // The users of a range may not walk the machine's paths: root opens
            // for them what they shall see.
            if let Ids::Range { .. } = record.ids() {
                hand_over(&mut plan, &mut mounts)?;
            }
            Ok((plan, mounts))
        };
        blocking(&sandbox.id, "preparing its file system", work)
            .await?
            .map_err(|error| system(&sandbox.id, "preparing its file system", error))
    }
}

/// Opens every path of the machine that `plan` names.
fn hand_over(plan: &mut Plan, mounts: &mut Vec<OwnedFd>) -> io::Result<()> {
    use rustix::mount::OpenTreeFlags;
    for step in &mut plan.steps {
        let Step::Bind { from, access, .. } = step else { continue };
        let Origin::Machine(path) = from else { continue };
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        if *access == Access::ReadOnly {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        }
        let tree =
            rustix::mount::open_tree(rustix::fs::CWD, path.as_str(), flags).map_err(|error| {
                let error = io::Error::from(error);
                io::Error::new(error.kind(), format!("opening `{path}`: {error}"))
            })?;
        let number = u8::try_from(mounts.len())
            .map_err(|_| io::Error::other("its root has too many entries"))?;
        mounts.push(tree);
        *from = Origin::Handed(number);
    }
    Ok(())
}

fn environment(env: &[(String, Secret)]) -> Environment {
    let mut all = Environment::default();
    for (name, value) in DEFAULTS {
        if !env.iter().any(|(given, _)| given == name) {
            all.0.push(format!("{name}={value}"));
        }
    }
    all.0.extend(env.iter().map(|(name, value)| format!("{name}={}", value.reveal())));
    all
}

fn failure(sandbox: &Sandbox, error: LinkError) -> DriverError {
    let id = &sandbox.id;
    match error {
        LinkError::Refused(Failure { step, errno }) if step == EXECUTE || step == ENTER_WORKDIR => {
            let reason = io::Error::from_raw_os_error(errno);
            DriverError::Command {
                key: id.key.clone(),
                command: sandbox.recipe.command.first().cloned().unwrap_or_default(),
                reason: if step == EXECUTE {
                    reason.to_string()
                } else {
                    format!("its directory `{}`: {reason}", sandbox.recipe.workdir)
                },
            }
        }
        LinkError::Refused(Failure { step, errno }) => {
            system(id, &step, io::Error::from_raw_os_error(errno))
        }
        LinkError::Broken(error) => system(id, "starting the command", error),
    }
}
