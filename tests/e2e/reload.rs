//! Configuration and plugins change while requests come in: none fails.

use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use tidegate_testkit::gateway::{Gateway, Setup};

const PLACING: &str = "sandbox = \"user-{subject}\"";

pub(crate) fn change(gateway: &Gateway, what: &str, with: &str) {
    let text = std::fs::read_to_string(gateway.config()).expect("the configuration is there");
    assert!(text.contains(what), "`{what}` isn't in it:\n{text}");
    let fresh = gateway.config().with_extension("new");
    std::fs::write(&fresh, text.replacen(what, with, 1)).expect("it is written");
    std::fs::rename(&fresh, gateway.config()).expect("it is put in place");
    gateway.reload();
}

/// Asks as Alice until what her application receives contains `wanted`; every
/// answer on the way must be a good one.
async fn until_seen(gateway: &Gateway, wanted: &str) {
    let wait = async {
        loop {
            let answer = gateway.get("alice", "/api/request").await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
            if answer.text().contains(wanted) {
                return;
            }
        }
    };
    let limit = std::time::Duration::from_secs(60);
    if tokio::time::timeout(limit, wait).await.is_err() {
        panic!("`{wanted}` never arrived");
    }
}

#[tokio::test]
async fn a_reload_that_waits_for_a_pipe_does_not_keep_the_gateway_from_ending() {
    let mut gateway = Gateway::start(Setup::hello()).await;
    let pipe = gateway.state_dir().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success());
    let mut text = std::fs::read_to_string(gateway.config()).expect("the configuration is there");
    text.push_str(&format!("\n[secrets.SLOW]\nfile = {:?}\n", pipe.display().to_string()));
    std::fs::write(gateway.config(), text).expect("it is written");
    gateway.reload();
    // Opens once the reload has begun to read, which goes on until something comes.
    let open = move || std::fs::OpenOptions::new().write(true).open(&pipe);
    let held = tokio::task::spawn_blocking(open).await.expect("it ends").expect("a pipe");
    assert_eq!(gateway.get("alice", "/").await.status, StatusCode::OK);
    assert_eq!(gateway.terminate().await, Some(0));
    drop(held);
}

#[tokio::test]
async fn a_source_that_never_answers_does_not_hold_up_the_change_that_takes_it_out() {
    let gateway = Gateway::start(Setup::hello()).await;
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = server.local_addr().expect("an address");
    let digest = "0".repeat(64);
    let slow = format!(
        "[[plugin]]\nname = \"slow\"\nsource = \"https://{address}/slow.wasm\"\n\
         sha256 = \"{digest}\"\n\n"
    );
    let rooms = "[[plugin]]\nname = \"rooms\"";
    change(&gateway, rooms, &[&slow, rooms].concat());
    // The reload has begun to fetch; nobody will ever answer.
    let held = server.accept().await.expect("a connection");
    let placing = format!("{PLACING}\nrequest-headers = {{ x-round = \"without\" }}");
    change(&gateway, PLACING, &placing);
    change(&gateway, &slow, "");
    until_seen(&gateway, "without").await;
    drop(held);
}

#[tokio::test]
async fn a_changed_configuration_is_taken_up_under_load_without_a_failed_request() {
    let gateway = Gateway::start(Setup::hello()).await;
    gateway.get("alice", "/").await;
    gateway.get("bob", "/").await;
    let done = AtomicBool::new(false);
    let load = async {
        let mut asked = 0;
        while !done.load(Ordering::Relaxed) {
            let answer = gateway.get("bob", "/api/whoami").await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
            asked += 1;
        }
        asked
    };
    let changes = async {
        let mut current = PLACING.to_owned();
        for round in 1..=3 {
            let next = format!("{PLACING}\nrequest-headers = {{ x-round = \"round-{round}\" }}");
            change(&gateway, &current, &next);
            until_seen(&gateway, &format!("round-{round}")).await;
            current = next;
        }
        done.store(true, Ordering::Relaxed);
    };
    let (asked, ()) = tokio::join!(load, changes);
    assert!(asked > 0);
    assert_eq!(gateway.processes("hello-app").len(), 2, "nothing was restarted");
}

#[tokio::test]
async fn a_broken_configuration_changes_nothing_and_the_next_good_one_is_taken_up() {
    let gateway = Gateway::start(Setup::hello()).await;
    gateway.get("alice", "/").await;
    let broken = format!("{PLACING}\nno-such-key = 1");
    change(&gateway, PLACING, &broken);
    let good = format!("{PLACING}\nrequest-headers = {{ x-round = \"good-again\" }}");
    for _ in 0..20 {
        assert_eq!(gateway.get("alice", "/api/whoami").await.status, StatusCode::OK);
    }
    change(&gateway, &broken, &good);
    until_seen(&gateway, "good-again").await;
}

#[tokio::test]
async fn a_plugin_file_is_swapped_whole_and_a_broken_one_leaves_the_last_good_one() {
    let plugin = tempfile::tempdir().expect("a directory");
    let file = plugin.path().join("rooms.wasm");
    let component = tidegate_builtin::component("per-user").expect("it is embedded");
    std::fs::write(&file, component).expect("the plugin is written");
    let source = format!("source = {:?}", file.display().to_string());
    let setup = Setup::hello().replacing("source = \"builtin:per-user\"", &source);
    let gateway = Gateway::start(setup).await;
    assert_eq!(gateway.get("alice", "/api/whoami").await.status, StatusCode::OK);

    let swap = |bytes: &[u8]| {
        let fresh = file.with_extension("new");
        std::fs::write(&fresh, bytes).expect("it is written");
        std::fs::rename(&fresh, &file).expect("it is put in place");
    };
    let plugins = || gateway.control(http::Method::GET, "/v1/plugins");
    let (_, before) = plugins().await;
    swap(b"this is no component");
    until_changed(&before, plugins).await;
    assert_eq!(gateway.get("alice", "/api/whoami").await.status, StatusCode::OK);

    let (_, broken) = plugins().await;
    swap(component);
    until_changed(&broken, plugins).await;
    assert_eq!(gateway.get("alice", "/api/whoami").await.status, StatusCode::OK);
}

/// Asks until the answer differs from `before` in more than counts of calls.
async fn until_changed<F>(before: &str, ask: impl Fn() -> F)
where
    F: Future<Output = (StatusCode, String)>,
{
    let facts = |text: &str| {
        let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let plugins = value["plugins"].as_array().cloned().expect("a list of plugins");
        let facts = plugins.iter().map(|p| (p["generation"].clone(), p["problem"].clone()));
        facts.collect::<Vec<_>>()
    };
    let wait = async {
        while facts(&ask().await.1) == facts(before) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let limit = std::time::Duration::from_secs(60);
    assert!(tokio::time::timeout(limit, wait).await.is_ok(), "still {before}");
}
