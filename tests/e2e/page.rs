//! What a person sees: OpenClaw's Control UI in a real browser.

use std::path::PathBuf;

use tidegate_testkit::browser::{Browser, Page};
use tidegate_testkit::gateway::{Gateway, Setup};
use tidegate_testkit::model::Model;
use tidegate_testkit::openclaw::{Installation, repository};

const KEY: &str = "sk-test-77c1d0be52fa4e36";
const COMPOSER: &str = r#"document.querySelector('textarea[aria-label="Chat composer"]')"#;

/// Where screenshots are kept: with what cargo builds.
fn screenshot(name: &str) -> PathBuf {
    repository().join("target/screenshots").join(name)
}

async fn say(page: &mut Page<'_>, words: &str) {
    page.until(&format!("{COMPOSER} && /\\bConnected\\b/.test(document.body.innerText)")).await;
    page.evaluate(&format!("{COMPOSER}.focus()")).await;
    page.type_text(words).await;
    page.press_enter().await;
    page.until(&format!(
        "/You said: {words}[^]*outside of your sandbox/.test(document.body.innerText)"
    ))
    .await;
}

#[tokio::test]
async fn a_person_opens_the_address_signs_in_and_chats() {
    let (installation, program) = match (Installation::find(), Browser::find()) {
        (Ok(installation), Ok(program)) => (installation, program),
        (Err(why), _) | (_, Err(why)) => return crate::skipped("a_person_opens_the_address", &why),
    };
    let model = Model::start(&installation, KEY).await;
    let mut gateway = Gateway::start(Setup::openclaw(&model, KEY)).await;
    let mut browser = Browser::start(&program).await;
    let token = gateway.token("alice").to_owned();
    let mut page = browser.open(&format!("http://{}/?token={token}", gateway.host("alice"))).await;

    say(&mut page, "what is the tide doing").await;
    page.screenshot(&screenshot("openclaw.png")).await;
    let address = page.evaluate("location.href").await;
    assert!(!address.to_string().contains(&token), "the token left the address bar: {address}");
    let cookies = page.evaluate("document.cookie").await;
    assert!(!cookies.to_string().contains(&token), "scripts don't see the cookie: {cookies}");

    // While the page is open the gateway crashes and is started again: the same
    // OpenClaw goes on, and the page comes back by itself.
    let before = gateway.processes("openclaw");
    gateway.kill().await;
    gateway.start_again().await;
    say(&mut page, "is anybody still there").await;
    assert_eq!(gateway.processes("openclaw"), before);

    // While the page is open its sandbox sleeps; the page comes back by itself.
    gateway.tell("alice", "sleep").await;
    gateway.tell("alice", "wake").await;
    say(&mut page, "and what is it doing now").await;
    page.screenshot(&screenshot("openclaw-after-sleep.png")).await;
}
