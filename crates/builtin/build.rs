//! Builds the first-party plugins and writes a table of them for `src/lib.rs`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A new first-party plugin: its directory in `plugins/`, its line in the
/// workspace there, and its name here.
const PLUGINS: &[&str] = &[
    "access",
    "activity",
    "audit",
    "closed",
    "jwt",
    "oidc",
    "per-user",
    "sub-domain",
    "tiers",
    "token",
];

fn main() {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("set by cargo"));
    let root = here.join("../..");
    // Named one by one: a directory as a whole would include what is built in it.
    for input in ["Cargo.toml", "Cargo.lock"] {
        watch(&root.join("plugins").join(input));
    }
    for plugin in PLUGINS {
        watch(&root.join("plugins").join(plugin));
    }
    watch(&root.join("crates/plugin-sdk"));
    watch(&root.join("wit"));

    // Beside the outer build's own directories and shared by all its profiles:
    // target/PROFILE/build/PACKAGE/out → target/plugins.
    let target_dir = out.ancestors().nth(4).expect("cargo's layout").join("plugins");
    let built = tidegate_plugin_build::toolchain().and_then(|toolchain| {
        tidegate_plugin_build::build(&toolchain, &root.join("plugins"), &target_dir, PLUGINS)
    });
    let components = match built {
        Ok(components) => components,
        Err(error) => {
            eprintln!("{error:#}");
            std::process::exit(1);
        }
    };
    let mut table = String::from("&[\n");
    for (name, component) in PLUGINS.iter().zip(components) {
        let path = out.join(format!("{name}.wasm"));
        std::fs::write(&path, component).expect("OUT_DIR is writable");
        writeln!(table, "({name:?}, include_bytes!({:?})),", path.display().to_string())
            .expect("a String takes everything");
    }
    table.push(']');
    std::fs::write(out.join("components.rs"), table).expect("OUT_DIR is writable");
}

fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}
