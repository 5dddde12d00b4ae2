//! The operator's side of the gateway.

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::Value;

use super::Gateway;
use super::client::exchange;

/// A sandbox, as the control API shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sandbox(Value);

impl Sandbox {
    /// Its name within the tenant.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0["name"].as_str().unwrap_or_default()
    }

    /// `running`, `stopped`…
    #[must_use]
    pub fn state(&self) -> &str {
        self.0["state"].as_str().unwrap_or_default()
    }

    /// Which life of it.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.0["incarnation"].as_u64().unwrap_or_default()
    }

    /// All of it.
    #[must_use]
    pub fn json(&self) -> &Value {
        &self.0
    }
}

impl Gateway {
    /// Every sandbox. Asking wakes none.
    ///
    /// # Panics
    /// When the control API doesn't answer.
    pub async fn sandboxes(&self) -> Vec<Sandbox> {
        let (status, body) = self.control(Method::GET, "/v1/sandboxes").await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let listing: Value = serde_json::from_str(&body).expect("the listing is JSON");
        listing["sandboxes"].as_array().expect("a list").iter().cloned().map(Sandbox).collect()
    }

    /// A user's sandbox.
    ///
    /// # Panics
    /// When there is none.
    pub async fn sandbox(&self, user: &str) -> Sandbox {
        let name = format!("user-{user}");
        let found = self.sandboxes().await.into_iter().find(|sandbox| sandbox.name() == name);
        found.unwrap_or_else(|| panic!("there is no sandbox `{name}`"))
    }

    /// Tells a user's sandbox to `wake`, `sleep` or `stop`, and waits until it did.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn tell(&self, user: &str, verb: &str) {
        let path = format!("/v1/sandboxes/demo/user-{user}/{verb}");
        let (status, body) = self.control(Method::POST, &path).await;
        assert!(status.is_success(), "{verb}: {status} {body}");
    }

    /// Destroys a user's sandbox.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn destroy(&self, user: &str) {
        let incarnation = self.sandbox(user).await.incarnation();
        let path = format!("/v1/sandboxes/demo/user-{user}?incarnation={incarnation}");
        let (status, body) = self.control(Method::DELETE, &path).await;
        assert!(status.is_success(), "{status} {body}");
    }

    /// Waits until a user's sandbox is in `state`.
    ///
    /// # Panics
    /// When it isn't within a minute.
    pub async fn until(&self, user: &str, state: &str) {
        let wait = async {
            while self.sandbox(user).await.state() != state {
                // The API has no way to be told; asking is free and wakes nobody.
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(super::PATIENCE, wait).await.is_err() {
            panic!("{user}'s sandbox is {:?}, not {state}", self.sandbox(user).await);
        }
    }

    /// What the application in a user's sandbox has written to its output.
    ///
    /// # Panics
    /// When there is no such sandbox.
    pub async fn output(&self, user: &str) -> String {
        let path = format!("/v1/sandboxes/demo/user-{user}/logs");
        let (status, body) = self.control(Method::GET, &path).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    /// Calls the control API.
    ///
    /// # Panics
    /// When it can't be reached.
    pub async fn control(&self, method: Method, path: &str) -> (StatusCode, String) {
        let token = std::fs::read_to_string(self.state_dir.join("control.token"))
            .expect("the control token is there");
        self.call_control(method, path, token.trim()).await.expect("the control API answers")
    }

    /// Whether the gateway says that it is ready.
    pub(super) async fn is_ready(&self) -> bool {
        let answer = self.call_control(Method::GET, "/readyz", "").await;
        matches!(answer, Ok((StatusCode::OK, _)))
    }

    async fn call_control(
        &self,
        method: Method,
        path: &str,
        token: &str,
    ) -> anyhow::Result<(StatusCode, String)> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.control.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Full::<Bytes>::default())?;
        let answer = exchange(self.control, request).await?;
        Ok((answer.status, answer.text()))
    }
}
