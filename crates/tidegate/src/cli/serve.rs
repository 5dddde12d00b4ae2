//! `tidegate serve`

use super::failure::Failure;
use super::find::Place;
use super::logging;
use crate::serve::Orders;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "SIGTERM and Ctrl-C finish open requests and end; sandboxes go on, and the next\n\
    start takes them over. SIGHUP, and any change of the file, load the configuration anew.\n\n\
    Examples:\n  tidegate serve\n  tidegate serve --config /etc/tidegate/tidegate.toml --log debug"
)]
pub(super) struct Serve {
    /// What is logged: error, warn, info, debug, trace, or directives
    #[arg(long, value_name = "FILTER", env = "TIDEGATE_LOG", default_value = logging::DEFAULT)]
    log: String,
}

impl Serve {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let Some((file, config)) = place.load()? else {
            return Err(Failure::wrong(
                "there is no tidegate.toml here or in /etc/tidegate",
                "Let `tidegate init` write one, or name yours with `--config`",
            ));
        };
        logging::start(&self.log)?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
                Failure::new(
                    format!("cannot start threads: {error}"),
                    "Look at the limits of this user",
                )
            })?;
        let orders = Orders { config, file: Some(file) };
        runtime.block_on(crate::serve::run(orders)).map_err(|why| Failure::unusable(why.0))
    }
}
