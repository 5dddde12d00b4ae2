//! `tidegate wake`, `sleep`, `stop` and `destroy`

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use http::Method;
use tidegate_control::SandboxView;

use super::client::{Client, block_on, path};
use super::failure::Failure;
use super::find::{self, Place};
use super::text::{Tone, print, printable};

#[derive(Debug, clap::Args)]
pub(super) struct Names {
    /// NAME, or TENANT/NAME
    #[arg(required = true, value_name = "SANDBOX")]
    sandboxes: Vec<String>,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate destroy user-ann\n  tidegate destroy --yes acme/user-ann acme/user-bob"
)]
pub(super) struct Destroy {
    #[command(flatten)]
    names: Names,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
}

/// What is done to a sandbox that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Wake,
    Sleep,
    Stop,
}

impl Action {
    fn path(self, of: &SandboxView) -> String {
        // Waking harms no later life; the others name the one that was seen.
        match self {
            Self::Wake => path(of, "/wake"),
            Self::Sleep => path(of, &format!("/sleep?incarnation={}", of.incarnation)),
            Self::Stop => path(of, &format!("/stop?incarnation={}", of.incarnation)),
        }
    }
}

impl Names {
    pub(super) fn run(self, place: &Place, action: Action) -> Result<(), Failure> {
        let client = place.client()?;
        block_on(async {
            for sandbox in self.meant(&client).await? {
                let now: SandboxView = client.ask(Method::POST, &action.path(&sandbox)).await?;
                print(&format!("{}/{}: {}\n", printable(&now.tenant), now.name, now.state))?;
            }
            Ok(())
        })
    }

    /// The sandboxes that are meant; nothing is done when one isn't found.
    async fn meant(&self, client: &Client) -> Result<Vec<SandboxView>, Failure> {
        let all = client.sandboxes().await?;
        self.sandboxes.iter().map(|typed| find::sandbox(typed, &all).cloned()).collect()
    }
}

impl Destroy {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let client = place.client()?;
        block_on(async {
            for sandbox in self.names.meant(&client).await? {
                let name = format!("{}/{}", printable(&sandbox.tenant), sandbox.name);
                if !self.yes && !confirmed(&name)? {
                    print(&format!("{name}: kept\n"))?;
                    continue;
                }
                let path = path(&sandbox, &format!("?incarnation={}", sandbox.incarnation));
                client.send(Method::DELETE, &path).await?;
                print(&format!("{name}: destroyed\n"))?;
            }
            Ok(())
        })
    }
}

/// Asks the person in front; without one, somebody must have said `--yes`.
fn confirmed(name: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::wrong(
            format!("destroying {name} removes its files, and nobody can be asked"),
            "Add `--yes` when that is meant",
        ));
    }
    eprint!("{} {name} and all its files? [y/N] ", Tone::of_stderr().bad("Destroy"));
    let _ = io::stderr().flush();
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| {
        Failure::new(format!("cannot read the answer: {error}"), "Add `--yes` when that is meant")
    })?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
