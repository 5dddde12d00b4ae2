//! What happened is written down: who asked for what, what was refused and why, how
//! sandboxes came and went; and nothing that would open a door.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use tidegate_testkit::gateway::{Ask, Gateway, Setup, SignIn};

const PATIENCE: Duration = Duration::from_secs(60);

fn audited(journal: &str, config: &str) -> Setup {
    Setup::hello().adding(&format!(
        "\n[[plugin]]\nname = \"audit\"\nsource = \"builtin:audit\"\njournal = {journal}\n\n\
         [plugin.config]\n{config}\n"
    ))
}

fn journal(gateway: &Gateway) -> PathBuf {
    gateway.state_dir().join("journals/audit.jsonl")
}

/// The lines of a file, each an object; a line that isn't fails the test.
fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    text.lines().map(parse).collect()
}

/// Reads until there is what is waited for; the lines.
async fn until(file: &Path, there: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let wait = async {
        loop {
            // A last line may be half written at the moment of reading.
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            let lines: Vec<Value> =
                whole.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            if there(&lines) {
                return lines;
            }
            // A file tells nobody that it grew.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(lines) => lines,
        Err(_) => panic!("not in {}: {:#?}", file.display(), lines(file)),
    }
}

fn find<'l>(lines: &'l [Value], pairs: &[(&str, &str)]) -> Option<&'l Value> {
    let same = |line: &&Value| pairs.iter().all(|(name, value)| line[*name] == *value);
    lines.iter().find(same)
}

fn has_path(lines: &[Value], path: &str) -> bool {
    find(lines, &[("kind", "request"), ("path", path)]).is_some()
}

#[tokio::test]
async fn what_happened_is_written_down_and_no_credential_with_it() {
    let gateway = Gateway::start(audited("{ file = \"audit.jsonl\" }", "")).await;
    let token = gateway.token("alice").to_owned();
    gateway.get("alice", "/api/whoami").await;
    let asked = Ask::get("alice", "/api/whoami").sign_in(SignIn::As("wrong-token"));
    assert_eq!(gateway.ask(asked).await.status, StatusCode::UNAUTHORIZED);
    let asked = Ask::get("bob", "/private").sign_in(SignIn::As(&token));
    assert_eq!(gateway.ask(asked).await.status, StatusCode::FORBIDDEN);
    let path = format!("/with?token={token}");
    gateway.ask(Ask::get("alice", &path).sign_in(SignIn::Nobody)).await;
    gateway.tell("alice", "sleep").await;

    let file = journal(&gateway);
    let stopped = [("kind", "sandbox"), ("state", "stopped")];
    let lines = until(&file, |lines| find(lines, &stopped).is_some()).await;

    let allowed =
        find(&lines, &[("kind", "request"), ("path", "/api/whoami"), ("subject", "alice")]);
    let allowed = allowed.expect("the request that was served");
    assert_eq!((&allowed["status"], &allowed["method"]), (&200.into(), &"GET".into()));
    assert_eq!((&allowed["tenant"], &allowed["sandbox"]), (&"demo".into(), &"user-alice".into()));
    assert_eq!(allowed["client"], "127.0.0.1");
    assert!(allowed["took-us"].is_u64() && allowed["decision"].is_string(), "{allowed}");

    let refused = find(&lines, &[("kind", "request"), ("code", "token-invalid")]);
    assert_eq!(refused.expect("the wrong token")["status"], 401);
    let decision = find(&lines, &[("kind", "decision"), ("hook", "authenticate")]);
    assert_eq!(decision.expect("who refused it")["plugin"], "sign-in");

    let decision = find(&lines, &[("kind", "decision"), ("hook", "resolve")]).expect("it");
    assert_eq!(
        (&decision["plugin"], &decision["code"]),
        (&"rooms".into(), &"not-your-address".into())
    );
    assert_eq!((&decision["subject"], &decision["status"]), (&"alice".into(), &403.into()));
    // One decision, seen by the plugin and by the request.
    let id = decision["decision"].as_str().expect("an id");
    assert!(find(&lines, &[("kind", "request"), ("decision", id), ("path", "/private")]).is_some());

    let states: Vec<_> = lines.iter().filter(|line| line["kind"] == "sandbox").collect();
    let states: Vec<_> = states.iter().map(|line| line["state"].as_str().expect("text")).collect();
    assert_eq!(states, ["starting", "running", "stopping", "stopped"]);
    let running = find(&lines, &[("kind", "sandbox"), ("state", "running")]).expect("it");
    assert_eq!((&running["why"], &running["before"]), (&"ready".into(), &"starting".into()));

    let text = std::fs::read_to_string(&file).expect("the journal");
    for secret in [token.as_str(), "wrong-token", "token="] {
        assert!(!text.contains(secret), "`{secret}` is in the journal:\n{text}");
    }
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(&file).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn only_what_was_asked_for_is_written_and_people_are_not_named() {
    let config = "kinds = [\"request\"]\ndrop = [\"client\", \"took-us\"]\n\
                  pseudonyms = { secret = \"AUDIT\", fields = [\"subject\", \"sandbox\"] }";
    let setup = audited("{ file = \"audit.jsonl\" }", config).with_secret("AUDIT", "a-key");
    let gateway = Gateway::start(setup).await;
    for path in ["/one", "/two"] {
        gateway.get("alice", path).await;
    }
    gateway.get("bob", "/three").await;
    let lines = until(&journal(&gateway), |lines| has_path(lines, "/three")).await;
    assert!(lines.iter().all(|line| line["kind"] == "request"), "{lines:#?}");
    assert!(lines.iter().all(|line| line.get("client").is_none()), "{lines:#?}");
    let subject = |path| {
        let line = find(&lines, &[("path", path)]).expect("it");
        line["subject"].as_str().expect("text").to_owned()
    };
    assert_eq!(subject("/one"), subject("/two"));
    assert_ne!(subject("/one"), subject("/three"));
    assert_eq!(subject("/one").len(), 32);
    // The host names them still; it was not asked to be left out.
    assert!(lines.iter().all(|line| !line["sandbox"].to_string().contains("alice")));
}

#[tokio::test]
async fn files_are_rotated_within_their_bounds_and_every_line_stays_whole() {
    let config = "kinds = [\"request\"]";
    let setup = audited("{ file = \"audit.jsonl\", max-size = \"4KiB\", keep = 2 }", config);
    let gateway = Gateway::start(setup).await;
    let file = journal(&gateway);
    for number in 0..60 {
        gateway.get("alice", &format!("/n/{number}")).await;
        // Batch by batch, so that no two are written as one.
        if number % 20 == 19 {
            until(&file, |lines| has_path(lines, &format!("/n/{number}"))).await;
        }
    }
    let mut found = Vec::new();
    for number in ["2", "1", ""] {
        let name = if number.is_empty() { "jsonl".to_owned() } else { format!("jsonl.{number}") };
        let file = file.with_extension(name);
        let size = std::fs::metadata(&file).expect("it was rotated").len();
        assert!(size <= 4_096, "{} has {size} bytes", file.display());
        found.extend(lines(&file));
    }
    assert!(!file.with_extension("jsonl.3").exists());
    // The youngest are there, in order, none of them twice.
    let paths: Vec<_> = found.iter().map(|line| line["path"].as_str().expect("text")).collect();
    let first = 60 - paths.len();
    let expected: Vec<_> = (first..60).map(|number| format!("/n/{number}")).collect();
    assert_eq!(paths, expected);
}

#[tokio::test]
async fn a_moved_file_is_followed_by_a_fresh_one() {
    let gateway = Gateway::start(audited("{ file = \"audit.jsonl\" }", "")).await;
    let file = journal(&gateway);
    gateway.get("alice", "/before").await;
    until(&file, |lines| has_path(lines, "/before")).await;
    let moved = file.with_extension("jsonl-20261124");
    std::fs::rename(&file, &moved).expect("it is moved");
    gateway.get("alice", "/after").await;
    until(&file, |lines| has_path(lines, "/after")).await;
    assert!(has_path(&lines(&moved), "/before") && !has_path(&lines(&moved), "/after"));
}

#[tokio::test]
async fn a_crash_loses_nothing_that_was_written_and_an_end_loses_nothing() {
    let config = "kinds = [\"request\"]";
    let mut gateway = Gateway::start(audited("{ file = \"audit.jsonl\" }", config)).await;
    let file = journal(&gateway);
    for number in 0..10 {
        gateway.get("alice", &format!("/a/{number}")).await;
    }
    until(&file, |lines| has_path(lines, "/a/9")).await;
    gateway.get("alice", "/lost-perhaps").await;
    gateway.kill().await;
    let before = lines(&file);
    assert!((0..10).all(|number| has_path(&before, &format!("/a/{number}"))), "{before:#?}");

    gateway.start_again().await;
    for number in 0..10 {
        gateway.get("alice", &format!("/b/{number}")).await;
    }
    // At once: what was not told yet is told within the drain time.
    assert_eq!(gateway.terminate().await, Some(0));
    let after = lines(&file);
    assert_eq!(after[..before.len()], before);
    assert!((0..10).all(|number| has_path(&after, &format!("/b/{number}"))), "{after:#?}");
}

#[tokio::test]
async fn an_observer_that_never_ends_takes_nothing_from_another() {
    let noise = crate::built::component("saboteur").display().to_string();
    let setup = audited("{ file = \"audit.jsonl\" }", "kinds = [\"request\"]").adding(&format!(
        "\n[[plugin]]\nname = \"noise\"\nsource = {noise:?}\n\n\
         [plugin.config]\nalways = \"observe loop\"\n"
    ));
    let gateway = Gateway::start(setup).await;
    for number in 0..20 {
        // The application answers, whatever it is.
        let answer = gateway.get("alice", &format!("/n/{number}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text());
    }
    let all = |lines: &[Value]| (0..20).all(|number| has_path(lines, &format!("/n/{number}")));
    until(&journal(&gateway), all).await;
    let wait = async {
        loop {
            let (_, metrics) = gateway.control(http::Method::GET, "/metrics").await;
            let failed = "tidegate_events_dropped_total{reason=\"observer-failed\"} ";
            let lost = metrics.lines().find_map(|line| line.strip_prefix(failed));
            if lost.is_some_and(|lost| lost != "0") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "what it lost isn't counted");
}
