//! The gateway without any privilege: a user of its own, no capability, no root.

use http::StatusCode;
use tidegate_testkit::gateway::{Gateway, Setup};

/// What such a machine can't limit isn't asked for.
fn setup() -> Setup {
    Setup::hello().unprivileged().with("limits", "{ open-files = 1024 }")
}

#[tokio::test]
async fn without_root_two_users_have_two_sandboxes_that_sleep_and_wake() {
    let gateway = Gateway::start(setup()).await;
    for user in ["alice", "bob"] {
        assert_eq!(gateway.get(user, "/").await.status, StatusCode::OK);
        assert_eq!(gateway.json(user, "/api/whoami").await["user"], user);
    }
    assert_eq!(gateway.processes("hello-app").len(), 2);
    gateway.tell("alice", "sleep").await;
    assert_eq!(gateway.processes("hello-app").len(), 1);
    assert_eq!(gateway.json("alice", "/api/whoami").await["visits"], 1);
}

#[tokio::test]
async fn without_root_sandboxes_survive_the_gateway() {
    let mut gateway = Gateway::start(setup()).await;
    gateway.get("alice", "/").await;
    let before = gateway.processes("hello-app");
    assert_eq!(before.len(), 1);
    gateway.kill().await;
    gateway.start_again().await;
    assert_eq!(gateway.json("alice", "/api/whoami").await["visits"], 1);
    assert_eq!(gateway.processes("hello-app"), before);
}
