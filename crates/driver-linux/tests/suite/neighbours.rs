//! One sandbox runs amok while another keeps answering.

use tidegate_sandbox::Driver;
use tidegate_sandbox::driver::{Exit, Files};
use tidegate_types::Limits;

use crate::ground::{Ground, PYTHON, ask, connect, evaluator, run, spec, template};

/// Runs `amok` within `limits` until it has done its worst, asking the neighbour
/// all the while.
async fn while_another_answers(name: &str, amok: &str, limits: Limits) -> Option<Exit> {
    let ground = Ground::new();
    let driver = &ground.driver;
    let good = evaluator("good");
    run(driver, &good, &[]).await;
    let mut stream = connect(driver, &good.id, 8080).await;

    let bad = spec(name, tidegate_types::Template { limits, ..template(&[PYTHON, "-c", amok]) });
    run(driver, &bad, &[]).await;
    let ended = driver.wait(&bad.id);
    tokio::pin!(ended);
    let mut exit = None;
    for round in 0..2000u32 {
        assert_eq!(ask(&mut stream, &format!("{round} + 1")).await, (round + 1).to_string());
        let worst = crate::ground::output(driver, &bad.id).contains("worst");
        if exit.is_none() {
            let now = std::time::Duration::from_millis(5);
            exit = tokio::time::timeout(now, &mut ended).await.ok().map(|exit| exit.expect("ends"));
        }
        if exit.is_some() || worst {
            break;
        }
    }
    assert_eq!(ask(&mut stream, "'still here'").await, "still here");
    for id in [&good.id, &bad.id] {
        driver.destroy(id, Files::Remove).await.expect("destroys");
    }
    exit
}

#[tokio::test]
async fn a_fork_bomb_stays_in_its_sandbox() {
    let bomb = "\
import os, time
for turn in range(3000):
    try:
        os.fork()
    except OSError:
        pass
print('worst', flush=True)
time.sleep(60)";
    let limits = Limits { pids: Some(64), ..Limits::default() };
    while_another_answers("bomb", bomb, limits).await;
}

#[tokio::test]
async fn a_memory_hog_ends_and_nobody_else_does() {
    let ground = Ground::new();
    if !ground.driver.capabilities().memory_limit {
        println!("skipped: this machine lets us limit no memory");
        return;
    }
    let hog = "hold = []\nwhile True: hold.append(b'x' * 4_000_000)";
    let limits = Limits { memory: Some(128 << 20), ..Limits::default() };
    assert_eq!(while_another_answers("hog", hog, limits).await, Some(Exit::OutOfMemory));
}

#[tokio::test]
async fn a_disk_filler_fills_its_own_disk_only() {
    let ground = Ground::new();
    if !ground.driver.capabilities().disk_limit {
        println!("skipped: this machine lets us limit no disk");
        return;
    }
    let filler = "\
import os
for number in range(100000):
    try:
        open('/var/tmp/%d' % number, 'wb').write(b'x' * 1_000_000)
    except OSError:
        print('worst', flush=True)
        break
import time; time.sleep(60)";
    let limits = Limits { disk: Some(64 << 20), ..Limits::default() };
    while_another_answers("filler", filler, limits).await;
}

#[tokio::test]
async fn endless_output_is_bounded_on_disk() {
    let ground = Ground::new();
    let driver = &ground.driver;
    let program = "\
import os, time
for _ in range(300): os.write(1, b'x' * 65535 + b'\\n')
os.write(1, b'the end')";
    let spec = spec("chatter", template(&[PYTHON, "-c", program]));
    run(driver, &spec, &[]).await;
    driver.wait(&spec.id).await.expect("ends");
    let log = driver.log_path(&spec.id.key);
    let logs = std::fs::read_dir(log.parent().expect("a directory")).expect("reads");
    let size: u64 = logs.flatten().map(|f| f.metadata().expect("a file").len()).sum();
    assert!(size <= 8 << 20, "{size} bytes");
    assert!(crate::ground::output(driver, &spec.id).ends_with("the end"));
    driver.destroy(&spec.id, Files::Remove).await.expect("destroys");
}
