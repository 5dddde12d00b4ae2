//! The command line: what may be typed, and what is shown.
//!
//! | file | idea |
//! |---|---|
//! | `serve`, `check`, `init` | commands that read a configuration |
//! | `ps`, `logs`, `act`, `usage`, `plugins` | commands that ask a running gateway |
//! | `plugin` | commands that look at a plugin's component |
//! | `find` | where that gateway is, and which sandbox a name means |
//! | `client` | asking it over HTTP |
//! | `table`, `text` | showing things to a person |
//! | `failure` | what went wrong, what to do, and the exit code |
//! | `logging` | the gateway's own log |
//!
//! **Not in here:** anything that runs while requests are served.

mod act;
mod check;
mod client;
mod failure;
mod find;
mod init;
mod logging;
mod logs;
mod plugin;
mod plugins;
mod ps;
#[cfg(test)]
mod reference;
mod serve;
mod table;
mod text;
mod usage;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use failure::Failure;
use find::Place;

/// A gateway that gives every user a Linux sandbox of their own.
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    propagate_version = true,
    disable_version_flag = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        tidegate init                      write a commented tidegate.toml\n  \
        tidegate check                     say everything that is wrong with it\n  \
        tidegate serve                     run the gateway\n  \
        tidegate ps                        list sandboxes\n  \
        tidegate logs -f user-ann          follow what one writes\n\n\
        Exit codes: 0 done, 1 failed, 2 wrong configuration or usage"
)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or Ctrl-C; sandboxes go on without it.
    Serve(serve::Serve),
    /// Say everything that is wrong with the configuration, without running it.
    Check(check::Check),
    /// Write a commented configuration to start from.
    Init(init::Init),
    /// List sandboxes: their state, why they are awake and when they will rest.
    Ps(ps::Ps),
    /// Show what a sandbox's processes wrote.
    Logs(logs::Logs),
    /// Start a sleeping sandbox and wait until it is ready.
    #[command(after_help = "Example:\n  tidegate wake acme/user-ann")]
    Wake(act::Names),
    /// Put a sandbox to rest now, as if its idle time were over.
    #[command(after_help = "Refused while requests are in flight: `stop` doesn't wait.\n\n\
        Example:\n  tidegate sleep user-ann")]
    Sleep(act::Names),
    /// End a sandbox's processes; its files stay.
    #[command(after_help = "Example:\n  tidegate stop user-ann user-bob")]
    Stop(act::Names),
    /// End a sandbox and remove its files.
    Destroy(act::Destroy),
    /// List limits, and how much of them is used.
    Usage(usage::Usage),
    /// List the policy plugins: what they answer, how often they failed.
    Plugins(plugins::Plugins),
    /// Look into a plugin's component, sign it, make keys for that.
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// Show the version of this program.
    Version,
    /// Write completions for a shell to standard output.
    #[command(
        after_help = "Example:\n  tidegate completions bash > /etc/bash_completion.d/tidegate"
    )]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// The demonstration application that runs inside a sandbox.
    #[command(hide = true)]
    HelloApp {
        /// Port to listen on.
        #[arg(long, default_value_t = 3000)]
        port: u16,
    },
}

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    // clap ends the process itself: 0 for help, 2 for wrong usage.
    let Cli { place, command } = Cli::parse();
    match dispatch(&place, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.show(),
    }
}

fn dispatch(place: &Place, command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(command) => command.run(place),
        Command::Check(command) => command.run(place),
        Command::Init(command) => command.run(place),
        Command::Ps(command) => command.run(place),
        Command::Logs(command) => command.run(place),
        Command::Wake(names) => names.run(place, act::Action::Wake),
        Command::Sleep(names) => names.run(place, act::Action::Sleep),
        Command::Stop(names) => names.run(place, act::Action::Stop),
        Command::Destroy(command) => command.run(place),
        Command::Usage(command) => command.run(place),
        Command::Plugins(command) => command.run(place),
        Command::Plugin(command) => command.run(),
        Command::Version => text::print(&format!("tidegate {}\n", env!("CARGO_PKG_VERSION"))),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "tidegate", &mut io::stdout());
            Ok(())
        }
        Command::HelloApp { port } => crate::hello::run(port)
            .map_err(|error| Failure::new(format!("{error:#}"), "Choose another port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_and_after_the_command() {
        for line in ["tidegate --state-dir /s ps", "tidegate ps --state-dir /s"] {
            let cli = Cli::try_parse_from(line.split(' ')).expect(line);
            assert!(cli.place.state_dir.is_some(), "{line}");
        }
    }
}
