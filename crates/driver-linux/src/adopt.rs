//! Finding what really exists: keepers of an earlier gateway are taken over.

use std::sync::Arc;

use tidegate_keeper::protocol::{Call, PROTOCOL, Reply, Status};
use tidegate_sandbox::driver::{DriverError, Found, SandboxId};
use tidegate_types::{Incarnation, SandboxKey};
use tokio::task::JoinSet;

use crate::connect;
use crate::driver::LinuxDriver;
use crate::link::{Link, LinkError};
use crate::sandbox::{Running, Sandbox, system};
use crate::state::{Place, Record, read_record};

impl LinuxDriver {
    /// Takes the keeper of `key` over; `None` when there is none.
    pub(crate) async fn adopt(
        &self,
        key: &SandboxKey,
    ) -> Result<Option<Arc<Sandbox>>, DriverError> {
        let place = self.state.place(key);
        let id = SandboxId { key: key.clone(), incarnation: Incarnation::default() };
        let record = read_record(&place.directory)
            .map_err(|error| system(&id, "reading its record", std::io::Error::other(error)))?;
        let Some(record) = record else { return Ok(None) };
        let adopted = attach(record, place).await?;
        if let Some(sandbox) = &adopted {
            self.remember(sandbox);
        }
        Ok(adopted)
    }

    pub(crate) async fn list_sandboxes(&self) -> Result<Vec<Found>, DriverError> {
        let records = self.state.records().map_err(|error| {
            DriverError::Unsupported(format!("the state directory cannot be read: {error}"))
        })?;
        let mut found = Vec::new();
        let mut attaching = JoinSet::new();
        for record in records {
            match self.known(&record.key) {
                Some(sandbox) => found.push(describe(&sandbox)),
                None => {
                    let place = self.state.place(&record.key);
                    attaching.spawn(attach(record, place));
                }
            }
        }
        while let Some(attached) = attaching.join_next().await {
            match attached {
                Ok(Ok(Some(sandbox))) => {
                    self.remember(&sandbox);
                    found.push(describe(&sandbox));
                }
                Ok(Ok(None)) => {}
                // One that cannot be talked to must not hide the others.
                Ok(Err(error)) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a sandbox exists that cannot be taken over"
                ),
                Err(error) => tracing::error!(%error, "taking a sandbox over failed"),
            }
        }
        self.cgroups.sweep();
        found.sort_by(|a, b| a.id.key.cmp(&b.id.key));
        Ok(found)
    }
}

fn describe(sandbox: &Sandbox) -> Found {
    let (running, started_at) = match sandbox.running() {
        Running::Yes { since, .. } => (true, Some(since)),
        Running::Starting(_) => (true, None),
        Running::No(_) | Running::Gone => (false, None),
    };
    Found { id: sandbox.id.clone(), running, started_at, template: sandbox.template.clone() }
}

async fn attach(record: Record, place: Place) -> Result<Option<Arc<Sandbox>>, DriverError> {
    let id = SandboxId { key: record.key.clone(), incarnation: Incarnation::default() };
    let failed = |error: std::io::Error| system(&id, "taking its keeper over", error);
    let Some(socket) = connect::connect(&place.directory, &record).map_err(failed)? else {
        return Ok(None);
    };
    let (link, news) = Link::new(socket).map_err(failed)?;
    let status = match link.call(Call::Attach { protocol: PROTOCOL }, &[]).await {
        Ok((Reply::Status(status), _)) => status,
        Ok(_) => return Err(failed(std::io::ErrorKind::InvalidData.into())),
        Err(LinkError::Refused(_)) => {
            return Err(DriverError::Unsupported(format!(
                "sandbox `{}` runs under the keeper of another version of tidegate; stop it with \
                 that version, or end its keeper",
                record.key
            )));
        }
        Err(error) => return Err(failed(error.into())),
    };
    if !is_of(&status, &record) {
        return Err(failed(std::io::Error::other("its keeper keeps another sandbox")));
    }
    let incarnation = Incarnation(status.setup.incarnation);
    let id = SandboxId { key: record.key.clone(), incarnation };
    let sandbox = Sandbox::new(status, id.clone(), record, place, (link, news));
    sandbox.map(Some).map_err(|error| system(&id, "understanding its keeper", error))
}

fn is_of(status: &Status, record: &Record) -> bool {
    let key = &record.key;
    status.setup.tenant == key.tenant.as_str()
        && status.setup.name == key.name.as_str()
        && status.setup.ids == record.ids()
}
