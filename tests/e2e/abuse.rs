//! One sandbox misbehaves as much as it may; the others keep answering.

use http::StatusCode;
use tidegate_testkit::gateway::{Gateway, Setup};

/// Mallory's application does this in the background, everyone else's doesn't.
/// All of it ends by itself, should the machine not hold it back.
fn with_attack(attack: &str) -> Setup {
    let script = format!(
        "case $TIDEGATE_SANDBOX in user-mallory) ({attack}) & ;; esac; \
         exec /opt/tidegate hello-app --port 3000"
    );
    Setup::hello()
        .with_user("mallory")
        .with("command", &format!("[\"/bin/sh\", \"-c\", {script:?}]"))
        .with("limits", r#"{ memory = "128MiB", cpu = 0.5, pids = 32, disk = "16MiB" }"#)
}

/// Lets Mallory loose and asks as Alice all the while.
async fn alice_is_answered_meanwhile(gateway: &Gateway) {
    gateway.get("alice", "/").await;
    let before = gateway.processes("hello-app");
    // Mallory may be answered or not.
    let mallory = gateway.get("mallory", "/");
    let alice = async {
        for _ in 0..100 {
            let answer = gateway.get("alice", "/api/whoami").await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        }
    };
    tokio::join!(mallory, alice);
    let after = gateway.processes("hello-app");
    assert!(before.iter().all(|pid| after.contains(pid)), "Alice's application lives");
}

#[tokio::test]
async fn a_fork_bomb_stays_in_its_sandbox() {
    let gateway = Gateway::start(with_attack(
        "i=0; while [ $i -lt 400 ]; do sleep 20 & i=$((i+1)); done; wait",
    ))
    .await;
    alice_is_answered_meanwhile(&gateway).await;
    let sleepers = gateway.processes("sleep").len();
    assert!((1..=32).contains(&sleepers), "{sleepers} processes where 32 are allowed");
}

#[tokio::test]
async fn a_memory_hog_stays_in_its_sandbox() {
    let gateway = Gateway::start(with_attack("head -c 1073741824 /dev/zero | tail")).await;
    alice_is_answered_meanwhile(&gateway).await;
}

#[tokio::test]
async fn a_disk_filler_stays_in_its_sandbox() {
    let gateway = Gateway::start(with_attack(
        "head -c 67108864 /dev/zero > $HOME/full || echo the disk is full",
    ))
    .await;
    alice_is_answered_meanwhile(&gateway).await;
    let (_, about) = gateway.control(http::Method::GET, "/v1/about").await;
    if about.contains("limits.disk") {
        return crate::skipped("a_disk_filler", "this machine can't limit a sandbox's disk");
    }
    gateway.until("mallory", "running").await;
    let mut output = gateway.output("mallory").await;
    for _ in 0..200 {
        if output.contains("the disk is full") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        output = gateway.output("mallory").await;
    }
    assert!(output.contains("the disk is full"), "{output}");
    // Alice can still write: her visits are counted in a file.
    gateway.get("alice", "/").await;
    assert_eq!(gateway.json("alice", "/api/whoami").await["visits"], 2);
}
