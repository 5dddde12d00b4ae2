//! `cargo xtask up`: builds, prepares, starts; ends everything with Ctrl-C.

mod children;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cargo::Profile;
use crate::control::{self, Control};
use crate::demo::{self, App, Model, Settings, User};
use crate::openclaw::Installation;
use crate::repo::Repo;
use crate::{cargo, say, setup};

use children::Child;

/// How long the gateway may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to end.
const GRACE: Duration = Duration::from_secs(30);

/// Starts the gateway with two demo users.
#[derive(Args)]
pub(crate) struct Up {
    /// What runs in the sandboxes.
    #[arg(long, value_enum, default_value = "openclaw")]
    app: App,
    /// Print one JSON object on standard output when ready.
    #[arg(long)]
    json: bool,
    /// Where everything is kept [default: .tidegate/APP in the repository].
    #[arg(long, value_name = "DIRECTORY")]
    state_dir: Option<PathBuf>,
    /// Where users connect; port 0 chooses a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Build with the dev profile: sooner there, slower to run.
    #[arg(long)]
    dev: bool,
    /// Start this binary instead of building one.
    #[arg(long, value_name = "FILE", hide = true)]
    binary: Option<PathBuf>,
}

impl Up {
    pub(crate) fn run(self) -> Result<()> {
        let repo = Repo::find()?;
        say::line(format_args!("tidegate with {}", self.app.name()));
        if self.binary.is_none() {
            setup::for_building()?;
        }
        if self.app == App::Openclaw {
            setup::for_openclaw(&repo)?;
        }
        let binary = match &self.binary {
            Some(binary) => std::path::absolute(binary)?,
            None => cargo::build_gateway(&repo, self.profile())?,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.serve(&repo, &binary))
    }

    async fn serve(&self, repo: &Repo, binary: &Path) -> Result<()> {
        let mut ends = Ends::listen()?;
        let state_dir = self.state_dir(repo)?;
        let listen = free(self.listen)?;
        let users = demo::users(&state_dir, listen)?;
        let provider = match (self.app, chosen_model()) {
            (App::Openclaw, None) => Some(start_provider(repo, &state_dir).await?),
            _ => None,
        };
        let model = match &provider {
            Some((_, address)) => Some(Model::Demo(*address)),
            None => chosen_model().filter(|_| self.app == App::Openclaw),
        };
        let control = free_or_other(SocketAddr::from(([127, 0, 0, 1], 8081)), listen)?;
        let config = demo::configure(&Settings {
            example: &repo.example(self.app.name()),
            state_dir: &state_dir,
            binary,
            listen,
            control,
            model,
        })?;
        let mut gateway = Child::start(
            tokio::process::Command::new(binary).arg("serve").arg("--config").arg(&config),
            &state_dir.join("gateway.log"),
        )?;
        let outcome = tokio::select! {
            ready = ready(&mut gateway, control) => match ready {
                Ok(()) => {
                    self.announce(&users, control, &state_dir, binary, model)?;
                    tokio::select! {
                        status = gateway.wait() => Err(gateway.ended(status?)),
                        () = ends.wait() => Ok(()),
                    }
                }
                Err(problem) => Err(problem),
            },
            () = ends.wait() => Ok(()),
        };
        say::line("\nending: sandboxes, then the gateway (Ctrl-C again: at once)");
        let stop = end(gateway, provider.map(|(child, _)| child), &state_dir, control);
        tokio::select! {
            () = stop => {}
            // Dropping the children kills them.
            () = ends.wait() => say::line("ended at once: sandboxes may still run"),
        }
        outcome
    }

    fn profile(&self) -> Profile {
        if self.dev { Profile::Dev } else { Profile::Release }
    }

    fn state_dir(&self, repo: &Repo) -> Result<PathBuf> {
        let chosen = match &self.state_dir {
            Some(dir) => std::path::absolute(dir)?,
            None => repo.root().join(".tidegate").join(self.app.name()),
        };
        std::fs::create_dir_all(&chosen)
            .with_context(|| format!("making the state directory {}", chosen.display()))?;
        Ok(chosen)
    }

    fn announce(
        &self,
        users: &[User],
        control: SocketAddr,
        state_dir: &Path,
        binary: &Path,
        model: Option<Model>,
    ) -> Result<()> {
        if self.json {
            let ready =
                serde_json::json!({ "control": format!("http://{control}"), "users": users });
            println!("{ready}");
            return Ok(());
        }
        say::line("\nThe gateway is ready. Open these in a browser, one person each:\n");
        for User { subject, url, .. } in users {
            say::line(format_args!("  {subject:<6} {url}"));
        }
        say::line("\nWhat to try:");
        match self.app {
            App::Openclaw => {
                say::line(
                    "  - the first page takes some ten seconds: OpenClaw starts in a sandbox",
                );
                say::line("  - write to it; each user's conversation is their own");
                say::line(match model {
                    Some(Model::OpenAi) => {
                        "  - OpenAI answers; the key stays outside of the sandboxes"
                    }
                    Some(Model::Anthropic) => {
                        "  - Anthropic answers; the key stays outside of the sandboxes"
                    }
                    _ => {
                        "  - a small demo model answers; set OPENAI_API_KEY or ANTHROPIC_API_KEY for a real one"
                    }
                });
            }
            App::Hello => say::line("  - reload: the page counts visits, per user, across sleeps"),
        }
        let cli = format!("{} --state-dir {}", binary.display(), state_dir.display());
        say::line(format_args!(
            "  - `{cli} ps` shows the sandboxes, `… sleep NAME` puts one to rest"
        ));
        say::line(format_args!("  - the gateway's log: {}/gateway.log", state_dir.display()));
        say::line("\nCtrl-C ends everything.");
        Ok(())
    }
}

/// The model whose key is in the environment.
fn chosen_model() -> Option<Model> {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if is_set("ANTHROPIC_API_KEY") {
        Some(Model::Anthropic)
    } else if is_set("OPENAI_API_KEY") {
        Some(Model::OpenAi)
    } else {
        None
    }
}

/// Starts the example's own model provider on a free port.
async fn start_provider(repo: &Repo, state_dir: &Path) -> Result<(Child, SocketAddr)> {
    let log = state_dir.join("model-provider.log");
    let mut command = tokio::process::Command::new(Installation::of(repo).node()?);
    command
        .arg(repo.example("openclaw").join("model-provider.mjs"))
        .args(["--listen", "127.0.0.1:0"]);
    let mut provider = Child::start(&mut command, &log)?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let address = said.lines().find_map(|line| line.strip_prefix("listening on http://"));
        if let Some(address) = address {
            return Ok((provider, address.parse().context("reading the provider's address")?));
        }
        provider.check_alive()?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("the model provider does not listen; its log is {}", log.display())
}

/// Waits until the gateway says that it is ready.
async fn ready(gateway: &mut Child, control: SocketAddr) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        gateway.check_alive()?;
        if control::is_ready(control) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("the gateway is not ready after {} s", PATIENCE.as_secs())
}

/// Ends what was started, in the order in which it depends on one another.
async fn end(gateway: Child, provider: Option<Child>, state_dir: &Path, control: SocketAddr) {
    let control = Control::of(state_dir, control);
    let stopped = tokio::task::spawn_blocking(move || control?.stop_all()).await;
    match stopped {
        Ok(Ok(())) => {}
        Ok(Err(problem)) => say::line(format_args!("sandboxes may still run: {problem:#}")),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
    gateway.stop(GRACE).await;
    if let Some(provider) = provider {
        provider.stop(GRACE).await;
    }
}

/// `address`, with a free port where it says 0.
fn free(address: SocketAddr) -> Result<SocketAddr> {
    if address.port() != 0 {
        return Ok(address);
    }
    let listener = TcpListener::bind(address).context("looking for a free port")?;
    Ok(listener.local_addr()?)
}

/// `wanted` where it is free, else the same with another port.
fn free_or_other(wanted: SocketAddr, taken: SocketAddr) -> Result<SocketAddr> {
    if wanted.port() != taken.port() && TcpListener::bind(wanted).is_ok() {
        return Ok(wanted);
    }
    free(SocketAddr::new(wanted.ip(), 0))
}

/// The ways in which people end a program.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
}

impl Ends {
    fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
