//! The Autobahn test suite, through the relay and without it: no case may be worse.
//!
//! Needs Python 2.7 with `pip`; the suite is installed once under `.cache`. All of
//! its cases run: half a minute in all.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tidegate_testkit::websocket::EchoWebSocket;
use tokio::process::Command;

use crate::harness::{Gateway, every_message};

/// The version that the results in the documentation are of.
const SUITE: &str = "autobahntestsuite==0.8.2";

fn cache() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/autobahn")
}

async fn run(program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("running {}", program.display()))?;
    if !output.status.success() {
        bail!("{} {arguments:?}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A Python 2.7, wherever this machine keeps one.
async fn python27() -> Option<PathBuf> {
    let mut candidates = vec![PathBuf::from("python2.7")];
    if let Some(home) = std::env::var_os("HOME") {
        let versions = Path::new(&home).join(".pyenv/versions");
        let versions = std::fs::read_dir(versions).into_iter().flatten().flatten();
        candidates.extend(
            versions
                .filter(|version| version.file_name().to_string_lossy().starts_with("2.7"))
                .map(|version| version.path().join("bin/python2.7")),
        );
    }
    for candidate in candidates {
        if run(&candidate, &["-c", "import sys; assert sys.version_info[:2] == (2, 7)"])
            .await
            .is_ok()
        {
            return Some(candidate);
        }
    }
    None
}

/// Installs the suite once; the reason where that cannot be.
async fn suite() -> Result<PathBuf, String> {
    let wstest = cache().join("bin/wstest");
    if wstest.exists() {
        return Ok(wstest);
    }
    let python = python27().await.ok_or("there is no Python 2.7")?;
    let install = async {
        let tools = cache().with_file_name("autobahn-tools");
        let (tools, home) = (tools.to_string_lossy(), cache());
        let home = home.to_string_lossy();
        let quiet = ["-m", "pip", "install", "-q", "--disable-pip-version-check"];
        // The last virtualenv that runs on 2.7; in a directory of its own.
        let virtualenv = [&quiet[..], &["--target", &tools, "virtualenv<20.22"]].concat();
        run(&python, &virtualenv).await?;
        let make = format!(
            "import sys; sys.path.insert(0, {tools:?}); import virtualenv; virtualenv.cli_run([{home:?}, '-q'])"
        );
        run(&python, &["-c", &make]).await?;
        run(&cache().join("bin/python"), &[&quiet[..], &[SUITE]].concat()).await?;
        anyhow::Ok(())
    };
    install.await.map_err(|error| format!("the suite cannot be installed: {error:#}"))?;
    Ok(wstest)
}

/// Runs the suite against `servers` and returns what it said per server and case.
async fn fuzz(
    wstest: &Path,
    servers: &[(&str, String)],
) -> anyhow::Result<BTreeMap<String, BTreeMap<String, String>>> {
    let directory = tempfile::tempdir()?;
    let reports = directory.path().join("reports");
    let specification = serde_json::json!({
        "outdir": reports,
        "servers": servers.iter().map(|(agent, url)| serde_json::json!({
            "agent": agent, "url": url, "options": { "version": 18 },
        })).collect::<Vec<_>>(),
        "cases": ["*"],
        "exclude-cases": [],
        "exclude-agent-cases": {},
    });
    let file = directory.path().join("fuzzingclient.json");
    std::fs::write(&file, specification.to_string())?;
    run(wstest, &["-m", "fuzzingclient", "-s", &file.to_string_lossy()]).await?;
    let index: Value = serde_json::from_reader(io::BufReader::new(std::fs::File::open(
        reports.join("index.json"),
    )?))?;
    let mut results = BTreeMap::new();
    for (agent, cases) in index.as_object().context("the report is an object")? {
        let cases = cases.as_object().context("an agent's report is an object")?;
        let said = |case: &Value| format!("{} {}", case["behavior"], case["behaviorClose"]);
        let cases = cases.iter().map(|(name, case)| (name.clone(), said(case))).collect();
        results.insert(agent.clone(), cases);
    }
    Ok(results)
}

/// Runs the cases against `server` directly, through a relay of raw bytes and
/// through one of messages.
async fn compare(wstest: &Path, server: SocketAddr) -> BTreeMap<String, String> {
    let raw = Gateway::start(server).await;
    let judged = Gateway::with(server, every_message()).await;
    let servers = [
        ("direct", format!("ws://{server}")),
        ("raw", format!("ws://{}", raw.address)),
        ("messages", format!("ws://{}", judged.address)),
    ];
    let mut results = fuzz(wstest, &servers).await.unwrap();
    let direct = results.remove("direct").unwrap();
    for (way, relayed) in &results {
        let differ: Vec<String> = direct
            .iter()
            .filter(|(case, said)| relayed.get(*case) != Some(said))
            .map(|(case, said)| format!("{case}: {said} directly, {:?} {way}", relayed.get(case)))
            .collect();
        let passed = relayed.values().filter(|said| said.starts_with("\"OK\"")).count();
        println!("{way}: {} cases, {passed} OK, {} differ", relayed.len(), differ.len());
        assert!(differ.is_empty(), "{}", differ.join("\n"));
    }
    direct
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_case_of_the_autobahn_suite_is_worse_through_the_relay() {
    let wstest = match suite().await {
        Ok(wstest) => wstest,
        Err(reason) => {
            println!("skipped: the Autobahn test suite: {reason}");
            return;
        }
    };
    let server = EchoWebSocket::start().await;
    let results = compare(&wstest, server.address).await;
    assert!(results.len() > 500, "{} cases ran", results.len());
}
