//! A real browser in tests: headless Chromium, steered over its DevTools protocol.

mod devtools;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use devtools::DevTools;

/// A page on a busy machine takes seconds; minutes are a hang.
const PATIENCE: Duration = Duration::from_secs(120);

/// Without these it looks for updates, synchronises, asks questions.
const QUIET: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--window-size=1280,900",
    "--remote-debugging-port=0",
];

/// A browser with a profile of its own; ends when dropped.
#[derive(Debug)]
pub struct Browser {
    devtools: DevTools,
    _process: Child,
    _profile: TempDir,
}

/// One tab.
#[derive(Debug)]
pub struct Page<'a> {
    browser: &'a mut Browser,
    session: String,
}

impl Browser {
    /// The browser on this machine.
    ///
    /// # Errors
    /// That there is none, in words: a test prints them as the reason why it is skipped.
    pub fn find() -> Result<PathBuf, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        ["chromium", "chromium-browser", "google-chrome"]
            .iter()
            .flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)))
            .find(|file| file.is_file())
            .ok_or_else(|| "there is no Chromium: `cargo xtask setup` installs it".to_owned())
    }

    /// Starts `program`.
    ///
    /// # Panics
    /// When it doesn't start.
    pub async fn start(program: &Path) -> Self {
        let profile = tempfile::tempdir().expect("a directory for its profile");
        let mut process = Command::new(program)
            .args(QUIET)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the browser starts");
        let output = process.stderr.take().expect("its output is piped");
        let mut lines = BufReader::new(output).lines();
        let mut said = String::new();
        let address = loop {
            let line = lines.next_line().await.expect("its output can be read");
            let line = line.unwrap_or_else(|| panic!("the browser ended:\n{said}"));
            if let Some(address) = line.strip_prefix("DevTools listening on ") {
                break address.to_owned();
            }
            said.push_str(&line);
            said.push('\n');
        };
        // Its output has to go somewhere as long as it lives, or it would stall.
        // Ends with the process.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let devtools = DevTools::connect(&address).await;
        Self { devtools, _process: process, _profile: profile }
    }

    /// Opens a tab at `url`.
    ///
    /// # Panics
    /// When the browser refuses.
    pub async fn open(&mut self, url: &str) -> Page<'_> {
        let target = self.devtools.call(None, "Target.createTarget", json!({ "url": url })).await;
        let attached = self
            .devtools
            .call(
                None,
                "Target.attachToTarget",
                json!({ "targetId": target["targetId"], "flatten": true }),
            )
            .await;
        let session = attached["sessionId"].as_str().expect("a session").to_owned();
        Page { browser: self, session }
    }
}

impl Page<'_> {
    /// Waits until the JavaScript expression is truthy, and returns its value.
    ///
    /// # Panics
    /// When it isn't for two minutes; says what the page shows instead.
    pub async fn until(&mut self, expression: &str) -> Value {
        // The page itself waits, so that nothing is missed and nobody polls over
        // the wire. A navigation ends the wait; then it is asked again.
        let script = format!(
            "new Promise((resolve) => {{
               const look = () => {{
                 let value; try {{ value = ({expression}); }} catch {{ value = undefined; }}
                 if (value) resolve(value); else setTimeout(look, 50);
               }};
               look();
             }})"
        );
        let wait = async {
            loop {
                if let Ok(value) = self.try_evaluate(&script).await {
                    return value;
                }
                tokio::task::yield_now().await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(value) => value,
            Err(_) => {
                let shown = self.evaluate("document.body.innerText.slice(0, 2000)").await;
                panic!("`{expression}` never came true; the page shows {shown}")
            }
        }
    }

    /// The value of a JavaScript expression.
    ///
    /// # Panics
    /// When it throws.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        self.try_evaluate(expression).await.unwrap_or_else(|problem| panic!("{problem}"))
    }

    async fn try_evaluate(&mut self, expression: &str) -> Result<Value, String> {
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = self.command("Runtime.evaluate", params).await?;
        match result.get("exceptionDetails") {
            Some(exception) => Err(format!("`{expression}` throws: {exception}")),
            None => Ok(result["result"]["value"].clone()),
        }
    }

    /// Types `text` where the focus is, as a keyboard would.
    ///
    /// # Panics
    /// When the page is gone.
    pub async fn type_text(&mut self, text: &str) {
        self.command("Input.insertText", json!({ "text": text })).await.expect("typing works");
    }

    /// Presses Enter where the focus is.
    ///
    /// # Panics
    /// When the page is gone.
    pub async fn press_enter(&mut self) {
        for kind in ["keyDown", "keyUp"] {
            let key = json!({
                "type": kind, "key": "Enter", "code": "Enter", "text": "\r",
                "windowsVirtualKeyCode": 13, "nativeVirtualKeyCode": 13,
            });
            self.command("Input.dispatchKeyEvent", key).await.expect("pressing a key works");
        }
    }

    /// Keeps what the page shows, as PNG, in `file`.
    ///
    /// # Panics
    /// When it can't be taken or written.
    pub async fn screenshot(&mut self, file: &Path) {
        let shot = self
            .command("Page.captureScreenshot", json!({ "format": "png" }))
            .await
            .expect("a screenshot is taken");
        let png = devtools::decode_base64(shot["data"].as_str().expect("the picture"));
        let dir = file.parent().expect("it has a directory");
        std::fs::create_dir_all(dir).expect("the directory is made");
        std::fs::write(file, png).expect("the picture is written");
    }

    async fn command(&mut self, method: &str, params: Value) -> Result<Value, String> {
        self.browser.devtools.try_call(Some(&self.session), method, params).await
    }
}
