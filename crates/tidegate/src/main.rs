//! The tidegate binary: composition and command line, nothing else.
#![forbid(unsafe_code)]

mod check;
mod cli;
mod demo;
mod hello;
mod live;
mod observe;
mod request;
mod serve;
mod usage;

fn main() -> std::process::ExitCode {
    cli::run()
}
