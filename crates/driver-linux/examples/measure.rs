//! Prints what a sandbox costs on this machine: time to make, start, dial and
//! destroy one, memory of its two processes, and the bare process for comparison.
//!
//! `cargo run -p tidegate-driver-linux --example measure`

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_driver_linux::{Config, LinuxDriver};
use tidegate_sandbox::Driver;
use tidegate_sandbox::driver::{Dialled, Files, SandboxId, Spec};
use tidegate_types::template::{Probe, Ready, Root};
use tidegate_types::{
    ClientAddress, Incarnation, Lifetime, Limits, SandboxKey, SandboxName, Template, TemplateName,
    TenantId,
};

const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 1));
const SERVER: &str = "\
import socket
s = socket.create_server(('127.0.0.1', 8080), backlog=512)
while True: s.accept()[0].close()";

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let state = tempfile::tempdir()?;
    let driver = LinuxDriver::new(Config { state_dir: state.path().to_owned() })?;
    let (mut create, mut start, mut destroy) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..100 {
        let spec = spec(number, &["/bin/sleep", "60"])?;
        create.push(timed(driver.create(&spec)).await?);
        start.push(timed(driver.start(&spec.id, &[])).await?);
        destroy.push(timed(driver.destroy(&spec.id, Files::Remove)).await?);
    }
    let mut bare = Vec::new();
    for _ in 0..100 {
        let begun = Instant::now();
        let mut child = Command::new("/bin/sleep").arg("60").env_clear().spawn()?;
        bare.push(begun.elapsed());
        child.kill()?;
        child.wait()?;
    }
    show("create", create);
    show("start until it executes", start);
    show("bare spawn until it executes", bare);
    show("destroy with files", destroy);

    let spec = spec(1000, &["/usr/bin/python3", "-c", SERVER])?;
    driver.create(&spec).await?;
    driver.start(&spec.id, &[]).await?;
    while driver.dial(&spec.id, 8080, GATEWAY).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut dial = Vec::new();
    for _ in 0..2000 {
        let begun = Instant::now();
        let Dialled::Tcp(stream) = driver.dial(&spec.id, 8080, GATEWAY).await? else {
            anyhow::bail!("not TCP");
        };
        dial.push(begun.elapsed());
        drop(stream);
    }
    show("dial", dial);
    let (mut freeze, mut thaw) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        freeze.push(timed(driver.freeze(&spec.id)).await?);
        thaw.push(timed(driver.thaw(&spec.id)).await?);
    }
    show("freeze", freeze);
    show("thaw", thaw);
    let keeper = processes(|pid| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.starts_with(state.path().as_os_str().as_encoded_bytes())
    });
    let init = processes(|pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        parent.and_then(|pid| pid.trim().parse().ok()).is_some_and(|pid| keeper.contains(&pid))
    });
    for (name, pids) in [("keeper", &keeper), ("init", &init)] {
        for pid in pids {
            let memory = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            let lines = memory.lines().filter(|l| {
                ["Rss:", "Pss:", "Private_Dirty:"].iter().any(|field| l.starts_with(field))
            });
            println!("{name}: {}", lines.collect::<Vec<_>>().join("; "));
        }
    }
    driver.destroy(&spec.id, Files::Remove).await?;
    Ok(())
}

fn processes(which: impl Fn(u32) -> bool) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| which(*pid)).collect()
}

async fn timed<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<Duration, E> {
    let begun = Instant::now();
    work.await?;
    Ok(begun.elapsed())
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    println!("{what}: p50 {:?}, p95 {:?}", at(50), at(95));
}

fn spec(number: u32, command: &[&str]) -> anyhow::Result<Spec> {
    let key = SandboxKey {
        tenant: TenantId::new("measure")?,
        name: SandboxName::new(&format!("number-{number}"))?,
    };
    let template = Template {
        name: TemplateName::new("measure")?,
        driver: "linux".into(),
        root: Root::Host,
        binds: Vec::new(),
        command: command.iter().map(|&part| part.to_owned()).collect(),
        workdir: "/home/user".into(),
        env: Vec::new(),
        port: 8080,
        ready: Ready { probe: Probe::Tcp(8080), timeout: Duration::from_secs(20) },
        lifetime: Lifetime::KeepAlive,
        stop_grace: Duration::from_secs(5),
        limits: Limits { pids: Some(100), memory: Some(1 << 30), ..Limits::default() },
        client_address: ClientAddress::Header,
        identity_headers: Vec::new(),
        upstreams: Vec::new(),
    };
    let id = SandboxId { key, incarnation: Incarnation(1) };
    Ok(Spec { id, template: Arc::new(template), listeners: Vec::new(), hosts: Vec::new() })
}
