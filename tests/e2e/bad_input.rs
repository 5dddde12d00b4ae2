//! What can't work is refused before anything starts: exit code 2, one sentence of
//! what is wrong and one of what to do.

use tidegate_testkit::gateway::{Gateway, Setup, run};

/// Starts a copy of a gateway's configuration, with ports and a state directory
/// that are free, and with `what` replaced by `with`.
async fn refusal(gateway: &Gateway, what: &str, with: &str) -> (Option<i32>, String) {
    let text = std::fs::read_to_string(gateway.config()).expect("the configuration is there");
    assert!(text.contains(what), "`{what}` isn't in the configuration:\n{text}");
    let state = gateway.state_dir().display().to_string();
    let text = text
        .replace(what, with)
        .replace(&gateway.address().to_string(), "127.0.0.1:0")
        .replace("control = \"127.0.0.1:", "control = \"127.0.0.2:")
        .replace(&state, &format!("{state}-other"));
    let file = gateway.config().with_file_name("bad.toml");
    std::fs::write(&file, text).expect("it is written");
    run(&["serve", "--config", &file.display().to_string()]).await
}

#[tokio::test]
async fn what_cannot_work_exits_with_2_and_says_what_to_do() {
    let gateway = Gateway::start(Setup::hello()).await;
    let not_a_component = gateway.config().with_file_name("text.wasm");
    std::fs::write(&not_a_component, "this is text").expect("it is written");
    let not_a_component = format!("source = {:?}", not_a_component.display().to_string());
    let cases: &[(&str, &str, &[&str])] = &[
        ("template = \"hello\"", "template = \"helo\"", &["helo"]),
        ("port = 3000\nsandbox", "port = 70000\nsandbox", &["port"]),
        ("port = 3000\nready", "port = 0\nready", &["port"]),
        ("builtin:token", "builtin:tokn", &["tokn", "token"]),
        ("source = \"builtin:token\"", "source = \"missing.wasm\"", &["missing.wasm"]),
        ("source = \"builtin:token\"", &not_a_component, &["text.wasm", "component"]),
        ("stop-grace", "stop-grce", &["stop-grce", "stop-grace"]),
        ("\"10m\"", "\"10 minutes\"", &["sleep-after"]),
        ("query-param", "query-parm", &["query-parm"]),
        ("file = \"tokens/alice\"", "file = \"tokens/nobody\"", &["tokens/nobody"]),
    ];
    for (what, with, expected) in cases {
        let (code, said) = refusal(&gateway, what, with).await;
        assert_eq!(code, Some(2), "`{with}`:\n{said}");
        for words in *expected {
            assert!(said.contains(words), "`{with}`: `{words}` isn't said:\n{said}");
        }
    }
}

#[tokio::test]
async fn a_port_in_use_exits_with_2_and_names_it() {
    let gateway = Gateway::start(Setup::hello()).await;
    let text = std::fs::read_to_string(gateway.config()).expect("the configuration is there");
    let state = gateway.state_dir().display().to_string();
    let file = gateway.config().with_file_name("same-port.toml");
    let text = text
        .replace("control = \"127.0.0.1:", "control = \"127.0.0.2:")
        .replace(&state, &format!("{state}-other"));
    std::fs::write(&file, text).expect("it is written");
    let (code, said) = run(&["serve", "--config", &file.display().to_string()]).await;
    assert_eq!(code, Some(2), "{said}");
    let port = gateway.address().port().to_string();
    assert!(said.contains(&port) && said.contains("in use"), "{said}");
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once_with_its_place() {
    let gateway = Gateway::start(Setup::hello()).await;
    let text = std::fs::read_to_string(gateway.config()).expect("the configuration is there");
    let file = gateway.config().with_file_name("bad.toml");
    let text =
        text.replace("stop-grace", "stop-grce").replace("port = 3000\nready", "port = 0\nready");
    std::fs::write(&file, text).expect("it is written");
    let (code, said) = run(&["check", "--config", &file.display().to_string()]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("stop-grce") && said.contains("port"), "{said}");
    assert!(said.contains("bad.toml:"), "lines are named: {said}");
}
