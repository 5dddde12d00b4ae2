use http::StatusCode;
use tidegate_testkit::gateway::{Gateway, Setup};

#[tokio::test]
async fn a_killed_gateway_finds_every_sandbox_running_and_serves_it() {
    let mut gateway = Gateway::start(Setup::hello()).await;
    for user in ["alice", "bob"] {
        gateway.get(user, "/").await;
    }
    let mut before = gateway.processes("");
    let lives = [gateway.sandbox("alice").await, gateway.sandbox("bob").await]
        .map(|sandbox| sandbox.incarnation());
    gateway.kill().await;
    let mut during = gateway.processes("");
    let ready = gateway.start_again().await;
    println!("ready {ready:?} after its start");

    for (user, life) in ["alice", "bob"].into_iter().zip(lives) {
        let who = gateway.json(user, "/api/whoami").await;
        assert_eq!(who["user"], user);
        assert_eq!(who["visits"], 1);
        assert_eq!(gateway.sandbox(user).await.state(), "running");
        assert_eq!(gateway.sandbox(user).await.incarnation(), life);
    }
    let mut after = gateway.processes("");
    for pids in [&mut before, &mut during, &mut after] {
        pids.sort_unstable();
    }
    assert!(!before.is_empty());
    assert_eq!(before, during, "nothing died with the gateway");
    assert_eq!(before, after, "nothing was started anew");
}

#[tokio::test]
async fn a_gateway_told_to_end_leaves_its_sandboxes_running() {
    let mut gateway = Gateway::start(Setup::hello()).await;
    gateway.get("alice", "/").await;
    let before = gateway.processes("hello-app");
    assert_eq!(gateway.terminate().await, Some(0));
    gateway.start_again().await;
    assert_eq!(gateway.json("alice", "/api/whoami").await["visits"], 1);
    assert_eq!(gateway.processes("hello-app"), before);
}

#[tokio::test]
async fn an_application_that_was_killed_is_started_by_the_next_request() {
    let gateway = Gateway::start(Setup::hello()).await;
    gateway.get("alice", "/").await;
    let [pid] = gateway.processes("hello-app")[..] else { panic!("one application runs") };
    gateway.kill_inside(pid);
    gateway.until("alice", "stopped").await;

    let answer = gateway.get("alice", "/api/whoami").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.json()["visits"], 1);
    assert_ne!(gateway.processes("hello-app"), [pid]);
}

#[tokio::test]
async fn a_second_gateway_on_the_same_state_is_refused() {
    let gateway = Gateway::start(Setup::hello()).await;
    let config = gateway.config().display().to_string();
    let text = std::fs::read_to_string(&config).expect("the configuration is there");
    let other = gateway.config().with_file_name("other.toml");
    let text = text.replace(&gateway.address().to_string(), "127.0.0.1:0");
    let text = text.replace("control = \"127.0.0.1:", "control = \"127.0.0.2:");
    std::fs::write(&other, text).expect("another configuration is written");
    let (code, said) =
        tidegate_testkit::gateway::run(&["serve", "--config", &other.display().to_string()]).await;
    assert_ne!(code, Some(0));
    assert!(said.contains("state"), "{said}");
    assert_eq!(gateway.get("alice", "/").await.status, StatusCode::OK);
}
