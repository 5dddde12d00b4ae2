//! Making a sandbox: its directory, its users, its keeper.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tidegate_keeper::protocol::{Call, Family, Reply, Setup, Status};
use tidegate_sandbox::driver::{DriverError, Files, SandboxId, Spec};

use crate::driver::LinuxDriver;
use crate::link::Link;
use crate::recipe::Recipe;
use crate::sandbox::{SOCKETS, Sandbox, system};
use crate::state::{Place, Record, make_directory};
use crate::{connect, disk, files};

/// What a keeper is given.
struct Ground {
    place: Place,
    record: Record,
    fds: Vec<OwnedFd>,
}

impl LinuxDriver {
    pub(crate) async fn create_sandbox(&self, spec: &Spec) -> Result<(), DriverError> {
        let key = &spec.id.key;
        let existing = match self.known(key) {
            Some(sandbox) => Some(sandbox),
            None => self.adopt(key).await?,
        };
        if let Some(existing) = existing {
            if existing.id.incarnation == spec.id.incarnation {
                return Ok(());
            }
            if existing.id.incarnation > spec.id.incarnation {
                let current = existing.id.incarnation;
                return Err(DriverError::Stale { meant: spec.id.clone(), current });
            }
            self.destroy_sandbox(&existing.id, Files::Keep).await?;
        }
        let ground = self.lay_ground(spec).await?;
        let sandbox = self.start_keeper(spec, ground).await?;
        self.remember(&sandbox);
        Ok(())
    }

    /// Everything on disk that a keeper needs.
    async fn lay_ground(&self, spec: &Spec) -> Result<Ground, DriverError> {
        let claimed = self.state.claim(&spec.id.key);
        let (place, record) = claimed.map_err(|e| system(&spec.id, "making its directory", e))?;
        let limit = spec.template.limits.disk.filter(|_| self.offers.disk_limit.is_ok());
        let id = spec.id.clone();
        // Making a disk takes a while.
        let work = move || {
            let step = |step: &'static str| {
                let id = id.clone();
                move |error: io::Error| system(&id, step, error)
            };
            make_directory(&place.logs()).map_err(step("making its log directory"))?;
            let logs = files::open_directory(&place.logs())
                .and_then(|logs| files::own(&logs, &record, 0).map(|()| logs))
                .map_err(step("making its log directory"))?;
            // What was begun goes on when the limit is set or taken away later:
            // the tenant's files are where they were.
            let begun_without = place.files().is_dir();
            let device = match limit {
                Some(bytes) if disk::exists(&place) || !begun_without => {
                    Some(disk::attach(&place, bytes).map_err(step("making its disk"))?)
                }
                None if disk::exists(&place) => {
                    Some(disk::attach(&place, 0).map_err(step("attaching its disk"))?)
                }
                _ => {
                    make_directory(&place.files()).map_err(step("making its files"))?;
                    None
                }
            };
            let control = connect::bind(&place.directory).map_err(step("making its socket"))?;
            let fds = [control, logs].into_iter().chain(device).collect();
            Ok(Ground { place, record, fds })
        };
        blocking(&spec.id, "making its files", work).await?
    }

    async fn start_keeper(&self, spec: &Spec, ground: Ground) -> Result<Arc<Sandbox>, DriverError> {
        let id = &spec.id;
        let failed = |error: io::Error| system(id, "starting its keeper", error);
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|error| failed(error.into()))?;
        let mut launcher = tokio::process::Command::new(self.state.program())
            .arg("keeper")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let (link, news) = Link::new(ours).map_err(failed)?;
        let notes = postcard::to_stdvec(&Recipe::of(spec))
            .map_err(|error| failed(io::Error::other(error)))?;
        let setup = Setup {
            tenant: id.key.tenant.as_str().to_owned(),
            name: id.key.name.as_str().to_owned(),
            incarnation: id.incarnation.0,
            template: spec.template.name.as_str().to_owned(),
            ids: ground.record.ids(),
            listeners: spec.listeners.iter().map(|l| (l.name.clone(), l.address)).collect(),
            sockets: SOCKETS,
            notes,
        };
        let answer = link.call(Call::Setup(setup), &ground.fds).await;
        // It forks the keeper off and ends; what went wrong is in the answer.
        drop(launcher.wait().await);
        let (status, sockets) = match answer.map_err(|error| failed(error.into()))? {
            (Reply::Status(status), sockets) => (status, sockets),
            _ => return Err(failed(io::ErrorKind::InvalidData.into())),
        };
        let sandbox =
            self.take_over(status, id.clone(), ground.record, ground.place, (link, news))?;
        sandbox.keep(sockets, Family::V4)?;
        Ok(sandbox)
    }

    pub(crate) fn take_over(
        &self,
        status: Status,
        id: SandboxId,
        record: Record,
        place: Place,
        link: (Link, tokio::sync::mpsc::UnboundedReceiver<crate::link::News>),
    ) -> Result<Arc<Sandbox>, DriverError> {
        Sandbox::new(status, id.clone(), record, place, link)
            .map_err(|error| system(&id, "understanding its keeper", error))
    }
}

/// Runs `work` where blocking does not hurt.
pub(crate) async fn blocking<T: Send + 'static>(
    id: &SandboxId,
    step: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, DriverError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| system(id, step, io::Error::other(error)))
}

/// The host name inside: the sandbox's name.
pub(crate) fn hostname(id: &SandboxId) -> String {
    id.key.name.as_str().to_owned()
}
