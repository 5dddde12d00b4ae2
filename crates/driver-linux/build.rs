//! Builds the keeper as a small static program, for `src/program.rs` to embed.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let keeper = here.join("../keeper");
    for part in ["Cargo.toml", "src"] {
        println!("cargo::rerun-if-changed={}", keeper.join(part).display());
    }
    let target = variable("TARGET");
    // Outside of the outer build's directory, whose lock that build holds.
    let output = PathBuf::from(variable("OUT_DIR")).join("keeper");

    let mut cargo = Command::new(variable("CARGO"));
    // What is meant for the outer build must not reach the inner one.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let outer = text.starts_with("CARGO") && text != "CARGO_HOME"
            || text.starts_with("RUSTC") && text != "RUSTC_BOOTSTRAP"
            || text.starts_with("DEP_")
            || ["RUSTFLAGS", "RUSTDOCFLAGS", "CLIPPY_ARGS", "TARGET", "HOST", "OUT_DIR"]
                .contains(&text.as_ref())
            || ["NUM_JOBS", "OPT_LEVEL", "PROFILE", "DEBUG", "MAKEFLAGS", "MFLAGS"]
                .contains(&text.as_ref());
        if outer {
            cargo.env_remove(&name);
        }
    }
    cargo
        .arg("build")
        .arg("--release")
        .args(["--package", "tidegate-keeper", "--bin", "tidegate-keeper"])
        .arg("--manifest-path")
        .arg(keeper.join("Cargo.toml"))
        .args(["--target", &target])
        .arg("--target-dir")
        .arg(&output)
        // Static: it is executed inside of roots that have no libc.
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            "-Ctarget-feature=+crt-static\u{1f}-Crelocation-model=static",
        )
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s")
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    let status = cargo.status().expect("cargo, which runs this, can be run");
    assert!(status.success(), "building the keeper failed; see above");

    let program = output.join(&target).join("release/tidegate-keeper");
    println!("cargo::rustc-env=TIDEGATE_KEEPER_PROGRAM={}", program.display());
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
