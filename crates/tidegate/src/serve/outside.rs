//! The services that the gateway itself calls: the client, lent to plugins, and the
//! key sets that issuers publish.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tidegate_config::{Config, Server};
use tidegate_outgoing::{Client, ClientConfig};
use tidegate_policy::{Outgoing, SendError, Sending};
use tidegate_types::fault::chain;

use super::key_sets::{Published, Shelf};

/// The way out of this process. One for its whole life.
pub(crate) struct Outside {
    pub(crate) client: Arc<Client>,
    shelf: Shelf,
    /// Those of the configuration that serves.
    published: Mutex<Published>,
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Outside {
    /// Reads the operator's own authorities; what it fetches it keeps in `state_dir`.
    ///
    /// # Errors
    /// An authority that can't be trusted, in words.
    pub(crate) fn new(server: &Server, state_dir: &Path) -> Result<Self, String> {
        let config = ClientConfig {
            extra_roots: server.extra_roots.iter().cloned().collect(),
            ..ClientConfig::default()
        };
        let client = Client::new(&config)
            .map_err(|error| format!("`server.extra-roots`: {}", chain(&error)))?;
        Ok(Self {
            client: Arc::new(client),
            shelf: Shelf::new(state_dir.join("key-sets")),
            published: Mutex::default(),
        })
    }

    /// What makes the calls of plugins.
    pub(crate) fn outgoing(&self) -> Arc<dyn Outgoing> {
        Arc::new(Lent(Arc::clone(&self.client)))
    }

    /// The key sets that `config` has by URL. Those that serve already go on; others
    /// are fetched, and where that fails, what was fetched before is taken.
    ///
    /// # Errors
    /// Every one that can be had in neither way, a line each.
    pub(crate) async fn key_sets(&self, config: &Config) -> Result<Published, Vec<String>> {
        let running = self.serving();
        Published::of(config, &running, &self.client, &self.shelf).await
    }

    /// Makes these the ones that serve; others are fetched no more.
    pub(crate) fn serve(&self, published: Published) {
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = published;
    }

    /// Those of the configuration that serves.
    pub(crate) fn serving(&self) -> Published {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The gateway's client, as the policy host sees it.
#[derive(Debug)]
struct Lent(Arc<Client>);

impl Outgoing for Lent {
    fn send(&self, request: Request<Bytes>, within: Duration, most: usize) -> Sending<'_> {
        Box::pin(async move {
            use tidegate_outgoing::SendError as E;
            self.0.send(request, within, most).await.map_err(|error| match error {
                E::TimedOut(_) => SendError::TimedOut,
                E::TooLarge(_) => SendError::TooLarge,
                E::Unreachable(_) | E::NotAllowed(_) => SendError::Unreachable(error.to_string()),
            })
        })
    }
}
