//! A gateway that is killed leaves its sandboxes running for the next.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tidegate_sandbox::Driver;
use tidegate_sandbox::driver::{Exit, Files};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::ground::{GATEWAY, ask, connect, evaluator, id, open, part, run, state_of_part};

const COUNT: usize = 12;

/// The gateway that is killed.
#[tokio::test]
async fn part_that_is_killed() {
    let Some(state) = state_of_part() else { return };
    let driver = open(state);
    for number in 0..COUNT {
        let spec = evaluator(&format!("kept-{number}"));
        run(&driver, &spec, &[]).await;
        let mut stream = connect(&driver, &spec.id, 8080).await;
        let mark = format!("globals().__setitem__('mark', 'mark {number}')");
        assert_eq!(ask(&mut stream, &mark).await, "None");
    }
    println!("\nall run");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn after_a_kill_the_next_driver_serves_the_same_processes() {
    let state = tempfile::tempdir().expect("a directory");
    let mut gateway = part("adoption::part_that_is_killed", state.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(gateway.stdout.take().expect("its output")).lines();
    while lines.next_line().await.expect("output").expect("it runs") != "all run" {}
    gateway.kill().await.expect("kills");

    let begun = Instant::now();
    let driver = open(state.path().to_owned());
    let found = driver.list().await.expect("lists");
    println!("{COUNT} sandboxes taken over in {:?}", begun.elapsed());
    assert_eq!(found.len(), COUNT);
    assert!(found.iter().all(|f| f.running && f.template == "test" && f.started_at.is_some()));
    for number in 0..COUNT {
        let mut stream = connect(&driver, &id(&format!("kept-{number}")), 8080).await;
        assert_eq!(ask(&mut stream, "mark").await, format!("mark {number}"));
    }

    // What was opened while nobody was there to accept waits.
    let first = id("kept-0");
    let mut stream = connect(&driver, &first, 8080).await;
    let open = "globals().__setitem__('c', socket.create_connection(('100.64.0.2', 80)))";
    assert_eq!(ask(&mut stream, open).await, "None");
    let listener = driver.listener(&first, "upstreams").await.expect("listens");
    listener.accept().await.expect("accepts");

    // It can be stopped, and started again without its specification.
    driver.stop(&first, Duration::from_secs(10)).await.expect("stops");
    driver.start(&first, &[]).await.expect("starts");
    let mut stream = connect(&driver, &first, 8080).await;
    assert!(ask(&mut stream, "mark").await.starts_with("NameError"));
    for found in found {
        driver.destroy(&found.id, Files::Remove).await.expect("destroys");
    }
}

#[tokio::test]
async fn a_killed_keeper_takes_its_sandbox_with_it_and_it_can_be_made_again() {
    let ground = crate::ground::Ground::new();
    let driver = &ground.driver;
    let spec = evaluator("orphan");
    run(driver, &spec, &[]).await;
    connect(driver, &spec.id, 8080).await;
    let keeper = keepers(ground.state.path());
    let [pid] = keeper.as_slice() else { panic!("{keeper:?}") };
    let pid = rustix::process::Pid::from_raw(*pid).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kills");

    assert_eq!(driver.wait(&spec.id).await.ok(), Some(Exit::Unknown));
    assert!(driver.list().await.expect("lists").is_empty());
    assert!(driver.dial(&spec.id, 8080, GATEWAY).await.is_err());
    driver.create(&spec).await.expect("creates");
    driver.start(&spec.id, &[]).await.expect("starts");
    connect(driver, &spec.id, 8080).await;
    driver.destroy(&spec.id, Files::Remove).await.expect("destroys");
}

/// Processes whose program lies in this state directory.
pub(crate) fn keepers(state: &std::path::Path) -> Vec<i32> {
    let state = state.canonicalize().expect("it exists");
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.starts_with(state.as_os_str().as_encoded_bytes())
    })
    .collect()
}
