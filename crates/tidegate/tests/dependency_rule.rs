//! The arrows between our crates, as ARCHITECTURE.md draws them.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Who may depend on whom. `types` is everyone's, so it stands on no line. A new
/// arrow is argued for in the commit that adds it here.
const ALLOWED: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("config", &[]),
    // Judges what plugins answer: a leaf, so that fuzzers build it without an engine.
    ("plausible", &[]),
    ("policy", &["plausible"]),
    ("sandbox", &[]),
    ("relay", &[]),
    // The gateway's own way out; one connector for all who go there.
    ("outgoing", &[]),
    ("egress", &["outgoing"]),
    // Fetches components; what is in them it doesn't know.
    ("plugin-source", &["outgoing"]),
    ("control", &[]),
    ("quota", &[]),
    // The small program that runs beside and inside each sandbox, and its protocol.
    ("keeper", &[]),
    // A driver implements the trait of `sandbox` and speaks to `keeper`.
    ("driver-linux", &["sandbox", "keeper"]),
    // Build-time only: compiles plugins, and holds the compiled ones.
    ("plugin-build", &[]),
    ("builtin", &["plugin-build"]),
    // What a plugin's author adds; it is compiled for another machine.
    ("plugin", &[]),
    // The binary knows all.
    (
        "tidegate",
        &[
            "builtin",
            "config",
            "control",
            "driver-linux",
            "egress",
            "keeper",
            "outgoing",
            "plugin-source",
            "policy",
            "quota",
            "relay",
            "sandbox",
        ],
    ),
    // The driver conformance suite is written against the trait.
    ("testkit", &["sandbox"]),
];

#[test]
fn crates_depend_only_on_what_the_architecture_allows() {
    let metadata = MetadataCommand::new()
        .no_deps()
        .other_options(["--offline".into()])
        .exec()
        .expect("cargo metadata");
    let short = |name: &str| name.strip_prefix("tidegate-").unwrap_or(name).to_owned();
    let ours: BTreeSet<String> = metadata.packages.iter().map(|p| short(&p.name)).collect();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();

    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let from = short(&package.name);
        let Some(allowed) = allowed.get(from.as_str()) else { continue };
        for dependency in &package.dependencies {
            let to = short(&dependency.name);
            if dependency.kind != DependencyKind::Development
                && ours.contains(&to)
                && to != "types"
                && !allowed.contains(&to.as_str())
            {
                wrong.push(format!("{from} -> {to}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "not allowed: {wrong:?}; see ARCHITECTURE.md, \"the dependency rule\""
    );
}

#[test]
fn every_crate_stands_in_the_rule() {
    let metadata = MetadataCommand::new()
        .no_deps()
        .other_options(["--offline".into()])
        .exec()
        .expect("cargo metadata");
    for package in &metadata.packages {
        let path = package.manifest_path.as_str();
        let Some((_, rest)) = path.rsplit_once("/crates/") else { continue };
        let name = package.name.strip_prefix("tidegate-").unwrap_or(&package.name);
        assert!(
            ALLOWED.iter().any(|(known, _)| *known == name),
            "{rest} is missing from ALLOWED: say what it may depend on"
        );
    }
}
