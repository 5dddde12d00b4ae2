//! `tidegate check`

use super::client::block_on;
use super::failure::Failure;
use super::find::Place;
use super::text::{Tone, print, printable};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Looks at everything that `serve` would: the file, its secrets, the plugins with\n\
    their own configuration, and what this machine can do for each template.\n\n\
    Examples:\n  tidegate check\n  tidegate check --config /etc/tidegate/tidegate.toml\n  tidegate check --explain | less"
)]
pub(super) struct Check {
    /// Show every key: what it may be, its default, what it does
    #[arg(long)]
    explain: bool,
}

impl Check {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        if self.explain {
            return print(&tidegate_config::keys::reference());
        }
        let Some((file, config)) = place.load()? else {
            return Err(Failure::wrong(
                "there is no tidegate.toml here or in /etc/tidegate",
                "Let `tidegate init` write one, or name yours with `--config`",
            ));
        };
        let summary = format!(
            "{}: fine. Plugins: {}, templates: {}, upstreams: {}\n",
            file.display(),
            config.plugins.len(),
            config.templates.len(),
            config.upstreams.len()
        );
        let machine = block_on(async { Ok(crate::check::machine(config).await) })?;
        let warnings = machine.map_err(Failure::unusable)?;
        let tone = Tone::of_stderr();
        for warning in warnings {
            eprintln!("{} {}", tone.busy("warning:"), printable(&warning));
        }
        print(&summary)
    }
}
