//! `docs/cli.md`: what `--help` says, for those who read before they type. From
//! the same definitions, so that it can't drift.

use std::path::Path;

use clap::{Command, CommandFactory as _};

use super::Cli;

fn reference() -> String {
    let mut root = Cli::command().term_width(100);
    root.build();
    let mut out = String::from(
        "# Command line\n\n\
         <!-- Generated from crates/tidegate/src/cli/; `UPDATE_EXPECT=1 cargo test -p tidegate reference` writes it anew. -->\n",
    );
    let summary = root.clone().mut_args(|arg| arg.help_heading("Where things are"));
    section("tidegate", summary, &mut out);
    for command in root.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help")
    {
        // The options that every command takes stand once, at the top.
        let own = command.clone().mut_args(|arg| {
            let hidden = arg.is_global_set();
            arg.hide(hidden)
        });
        section(&format!("tidegate {}", command.get_name()), own, &mut out);
    }
    out
}

fn section(title: &str, command: Command, out: &mut String) {
    let help = command.term_width(100).render_long_help().to_string();
    let lines: Vec<_> = help.lines().map(str::trim_end).collect();
    out.push_str(&format!("\n## `{title}`\n\n```text\n{}\n```\n", lines.join("\n").trim_end()));
}

#[test]
fn the_reference_documentation_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let fresh = reference();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &fresh).expect("written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == fresh, "docs/cli.md is stale: run this test with UPDATE_EXPECT=1");
}
