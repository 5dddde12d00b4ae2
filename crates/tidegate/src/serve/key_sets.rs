//! Key sets that their issuers publish: fetched beside the requests, never for one.
//!
//! | when | what |
//! |---|---|
//! | at start | fetched; where that fails, the last good copy in the state directory |
//! | every `refresh` | fetched again; where that fails, the last good one goes on |
//! | a token names an unknown key | fetched, at most every 30 s; the request is refused |
//!
//! So a key that the issuer took back is accepted for `refresh` at the longest while
//! the issuer can be reached, and as long as it can't be reached; a new one is
//! accepted from the request after the one that told of it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, StatusCode, Uri, header};
use serde::{Deserialize, Serialize};
use tidegate_config::{Config, KeySetSource};
use tidegate_outgoing::Client;
use tidegate_policy::{ClaimRules, KeySet};
use tidegate_types::meter::Counter;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// For one fetch, and bytes of a document. Issuers' have some kilobytes.
const WITHIN: Duration = Duration::from_secs(10);
const MOST: usize = 1 << 20;

/// Between two fetches because of unknown keys: anybody can make one up.
const UNKNOWN_EVERY: Duration = Duration::from_secs(30);

/// After a failure the next attempt comes no later than this.
const RETRY: Duration = Duration::from_secs(60);

/// The published key sets of one configuration, by name. Dropping the last clone
/// ends the fetching.
#[derive(Clone, Default)]
pub(crate) struct Published(HashMap<String, Arc<Running>>);

struct Running {
    order: Order,
    set: KeySet,
    meters: Arc<Meters>,
    _refreshing: AbortOnDropHandle<()>,
}

/// What is to be fetched and accepted: where this is the same, so is the set.
#[derive(Clone, PartialEq)]
struct Order {
    name: String,
    url: Uri,
    refresh: Duration,
    rules: ClaimRules,
}

/// How the fetching of one set goes.
#[derive(Debug)]
pub(crate) struct Meters {
    pub(crate) fetched: Counter,
    pub(crate) failed: Counter,
    began: Instant,
    /// Milliseconds after `began`.
    good_at: AtomicU64,
}

impl Meters {
    fn new() -> Self {
        Self {
            fetched: Counter::default(),
            failed: Counter::default(),
            began: Instant::now(),
            good_at: AtomicU64::new(0),
        }
    }

    fn good(&self) {
        self.fetched.add(1);
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.good_at.store(millis, Relaxed);
    }

    /// How old what serves is, or is since this process has it.
    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.good_at.load(Relaxed)))
    }
}

impl Published {
    pub(super) async fn of(
        config: &Config,
        running: &Self,
        client: &Arc<Client>,
        shelf: &Shelf,
    ) -> Result<Self, Vec<String>> {
        let orders = config.key_sets.iter().filter_map(|(name, set)| {
            let KeySetSource::Url { url, refresh } = &set.source else { return None };
            let order = Order {
                name: name.clone(),
                url: url.clone(),
                refresh: *refresh,
                rules: super::plugins::rules(set),
            };
            Some(order)
        });
        let all = orders.map(|order| async move {
            match running.0.get(&order.name).filter(|running| running.order == order) {
                Some(running) => Ok(Arc::clone(running)),
                None => Running::start(order, client, shelf).await.map(Arc::new),
            }
        });
        let (mut sets, mut problems) = (HashMap::new(), Vec::new());
        for started in join_all(all).await {
            match started {
                Ok(running) => drop(sets.insert(running.order.name.clone(), running)),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(Self(sets)) } else { Err(problems) }
    }

    /// The set of that name.
    pub(crate) fn get(&self, name: &str) -> Option<KeySet> {
        self.0.get(name).map(|running| running.set.clone())
    }

    /// How the fetching of each goes, by name.
    pub(crate) fn meters(&self) -> impl Iterator<Item = (&str, &Meters)> {
        self.0.iter().map(|(name, running)| (name.as_str(), &*running.meters))
    }
}

impl Running {
    async fn start(order: Order, client: &Arc<Client>, shelf: &Shelf) -> Result<Self, String> {
        let meters = Arc::new(Meters::new());
        let (document, fresh) = match fetch(client, &order.url).await {
            Ok((document, fresh)) => {
                meters.good();
                shelf.put(&order, &document).await;
                (document, fresh)
            }
            Err(problem) => {
                meters.failed.add(1);
                let kept = shelf.get(&order).await.and_then(|document| {
                    let keys = KeySet::from_published_jwks(&document).ok()?;
                    Some((document, keys))
                });
                let Some(kept) = kept else {
                    return Err(format!(
                        "`key-sets.{}.url`: {problem}; no copy of an earlier start is there: \
                         make the issuer reachable, or use `file`",
                        order.name
                    ));
                };
                tracing::warn!(
                    key_set = order.name,
                    problem,
                    "a key set cannot be fetched; the last good copy serves"
                );
                kept
            }
        };
        let set = fresh.with_rules(order.rules.clone());
        let unknown = Arc::new(Notify::new());
        let note = Arc::clone(&unknown);
        set.when_a_key_is_unknown(move || note.notify_one());
        let refreshing = Refreshing {
            order: order.clone(),
            document,
            set: set.clone(),
            client: Arc::clone(client),
            shelf: shelf.clone(),
            meters: Arc::clone(&meters),
            failing: false,
        };
        let refreshing = AbortOnDropHandle::new(tokio::spawn(refreshing.run(unknown)));
        Ok(Self { order, set, meters, _refreshing: refreshing })
    }
}

/// Keeps one set fresh.
struct Refreshing {
    order: Order,
    document: String,
    set: KeySet,
    client: Arc<Client>,
    shelf: Shelf,
    meters: Arc<Meters>,
    failing: bool,
}

impl Refreshing {
    async fn run(mut self, unknown: Arc<Notify>) {
        let mut due = Instant::now() + self.order.refresh;
        // When the next unknown key may have its fetch.
        let mut hear = Instant::now();
        loop {
            let told = async {
                tokio::time::sleep_until(hear).await;
                unknown.notified().await;
            };
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = told => hear = Instant::now() + UNKNOWN_EVERY,
            }
            let next = if self.refresh().await {
                self.order.refresh
            } else {
                self.order.refresh.min(RETRY)
            };
            due = Instant::now() + next;
        }
    }

    /// Whether the set is fresh now.
    async fn refresh(&mut self) -> bool {
        let key_set = self.order.name.as_str();
        match fetch(&self.client, &self.order.url).await {
            Ok((document, fresh)) => {
                self.meters.good();
                if std::mem::take(&mut self.failing) {
                    tracing::info!(key_set, "a key set can be fetched again");
                }
                if document != self.document {
                    self.set.replace_keys(&fresh);
                    self.shelf.put(&self.order, &document).await;
                    self.document = document;
                    tracing::info!(key_set, "a key set's keys were replaced");
                }
                true
            }
            Err(problem) => {
                self.meters.failed.add(1);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(
                        key_set,
                        problem,
                        "a key set cannot be fetched; the last good one serves on"
                    );
                }
                false
            }
        }
    }
}

async fn fetch(client: &Client, url: &Uri) -> Result<(String, KeySet), String> {
    let request = Request::get(url.clone())
        .header(header::ACCEPT, "application/json, application/jwk-set+json")
        .body(Bytes::new())
        .map_err(|error| error.to_string())?;
    let answer = client.send(request, WITHIN, MOST).await.map_err(|error| error.to_string())?;
    if answer.status() != StatusCode::OK {
        return Err(format!("{url} answers {}", answer.status()));
    }
    let document = String::from_utf8(answer.into_body().into())
        .map_err(|_| format!("what {url} answers is not text"))?;
    let keys = KeySet::from_published_jwks(&document).map_err(|error| format!("{url}: {error}"))?;
    Ok((document, keys))
}

/// Where the last good documents lie: one file per set. What lies there decides who
/// is let in, so nobody else may write there; it is no secret.
#[derive(Debug, Clone)]
pub(super) struct Shelf(PathBuf);

/// What such a file holds. A copy of another URL is no copy.
#[derive(Serialize, Deserialize)]
struct Copy {
    url: String,
    document: String,
}

impl Shelf {
    pub(super) const fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// Names of key sets are the operator's and may be any text.
    fn path(&self, order: &Order) -> PathBuf {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name: String = order.name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
        self.0.join(format!("{name}.json"))
    }

    async fn get(&self, order: &Order) -> Option<String> {
        let text = tokio::fs::read(self.path(order)).await.ok()?;
        let copy: Copy = serde_json::from_slice(&text).ok()?;
        (copy.url == order.url.to_string()).then_some(copy.document)
    }

    /// A copy that cannot be kept costs the next start, not this one.
    async fn put(&self, order: &Order, document: &str) {
        if let Err(error) = self.try_put(order, document).await {
            let key_set = order.name.as_str();
            tracing::warn!(key_set, %error, "a copy of a key set cannot be kept");
        }
    }

    async fn try_put(&self, order: &Order, document: &str) -> std::io::Result<()> {
        let copy = Copy { url: order.url.to_string(), document: document.to_owned() };
        let text = serde_json::to_vec(&copy)?;
        tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0).await?;
        let path = self.path(order);
        let part = path.with_extension("part");
        let mut file = tokio::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)
            .await?;
        file.write_all(&text).await?;
        file.sync_all().await?;
        tokio::fs::rename(&part, &path).await
    }
}
