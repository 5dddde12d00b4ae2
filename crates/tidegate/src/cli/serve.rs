//! `tidegate serve`

use std::time::Duration;

use super::failure::Failure;
use super::find::Place;
use super::logging;
use super::text::print;
use crate::serve::Orders;

/// How long threads that block may take once everything else has ended.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without any configuration it is a demonstration: two users with a sandbox each.\n\n\
    SIGTERM and Ctrl-C finish open requests and end; sandboxes go on, and the next\n\
    start takes them over. SIGHUP, and any change of the file, load the configuration anew.\n\n\
    Examples:\n  tidegate serve\n  tidegate serve --config /etc/tidegate/tidegate.toml --log debug"
)]
pub(super) struct Serve {
    /// What is logged: error, warn, info, debug, trace, or directives
    #[arg(long, value_name = "FILTER", env = "TIDEGATE_LOG", hide_env_values = true, default_value = logging::DEFAULT)]
    log: String,
}

impl Serve {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        logging::start(&self.log)?;
        let orders = match place.load()? {
            Some((file, config)) => {
                let state_dir = place.state_dir.as_ref().map(|_| config.server.state_dir.clone());
                Orders { config, file: Some(file), state_dir }
            }
            None => demonstration(place)?,
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
                Failure::new(
                    format!("cannot start threads: {error}"),
                    "Look at the limits of this user",
                )
            })?;
        let ended = runtime.block_on(crate::serve::run(orders));
        // Whatever still reads a file then, from a disk that doesn't answer or a pipe
        // that nobody writes to, must not keep the process.
        runtime.shutdown_timeout(LEFT_BEHIND);
        ended.map_err(|why| Failure::unusable(why.0))
    }
}

/// What runs when there is no configuration.
fn demonstration(place: &Place) -> Result<Orders, Failure> {
    let state_dir = place.state_dir.clone().unwrap_or_else(crate::demo::default_state_dir);
    let demo = crate::demo::prepare(&state_dir).map_err(|error| {
        Failure::wrong(
            format!("the demonstration cannot be prepared: {error:#}"),
            "Let `tidegate init` write a configuration, or name another `--state-dir`",
        )
    })?;
    print(
        "No tidegate.toml here or in /etc/tidegate: this is a demonstration. Open as two users:\n",
    )?;
    demo.addresses.iter().try_for_each(|address| print(&format!("  {address}\n")))?;
    Ok(Orders { config: demo.config, file: None, state_dir: None })
}
