//! `cargo xtask up`, as a person runs it: from start to Ctrl-C.

use std::process::Stdio;

use serde_json::Value;
use tidegate_testkit::demo::Demo;
use tokio::process::Command;

#[tokio::test]
async fn up_prints_where_two_users_go_serves_them_and_ends_everything() {
    let state = tempfile::tempdir().expect("a directory");
    let mut demo = Demo::start("hello", state.path()).await;
    let users = demo.ready()["users"].as_array().cloned().expect("two users");
    assert_eq!(users.len(), 2);
    for user in &users {
        let (subject, url) = (text(user, "subject"), text(user, "url"));
        assert!(url.starts_with(&format!("http://{subject}.localhost:")), "{url}");
        assert!(url.ends_with(&format!("/?token={}", text(user, "token"))), "{url}");
        let page = demo.open(url).await;
        assert_eq!(page.status, 200, "{}", page.text());
    }
    assert!(demo.ready()["control"].as_str().is_some_and(|url| url.starts_with("http://127.")));
    let started = demo.processes();
    assert!(started.len() > 2, "the gateway and two sandboxes: {started:?}");
    assert_eq!(demo.interrupt().await, Some(0));
    assert_eq!(demo.processes(), Vec::<u32>::new(), "nothing is left");
}

fn text<'a>(user: &'a Value, key: &str) -> &'a str {
    user[key].as_str().unwrap_or_default()
}

#[tokio::test]
async fn up_says_what_is_wrong_when_the_port_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("it is bound").port();
    let state = tempfile::tempdir().expect("a directory");
    let output = Command::new(Demo::program())
        .args(Demo::arguments("hello", state.path()))
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .stdin(Stdio::null())
        .output()
        .await
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains(&port.to_string()) && said.contains("in use"), "{said}");
}
