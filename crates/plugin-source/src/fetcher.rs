//! From what is asked for to verified bytes: copies first where they can't be
//! wrong, the source with retries, the checks, and the copies again where the
//! source doesn't answer.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use tidegate_outgoing::{Client, ClientConfig, TrustError};
use tidegate_types::fault::Retry;
use tidegate_types::{OciReference, OciVersion, Sha256Digest};

use crate::error::{Reason, SourceError};
use crate::registry::Repository;
use crate::store::Store;
use crate::{Source, Wanted, file, https};

/// Waited before the second, third… try of something that may pass.
const BACK_OFF: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// What a [`Fetcher`] works with.
#[derive(Debug, Clone)]
pub struct FetcherConfig {
    /// Where copies are kept; made where it doesn't exist.
    pub dir: PathBuf,
    /// PEM files of certificates to trust besides the web's authorities.
    pub extra_roots: Vec<PathBuf>,
}

/// Fetches components and keeps copies of them.
#[derive(Debug)]
pub struct Fetcher {
    client: Client,
    store: Arc<Store>,
    /// PEM texts.
    extra_roots: Vec<Vec<u8>>,
}

/// Why there is no fetcher.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The directory for copies.
    #[error("`{}` can't be used for copies of plugins", dir.display())]
    Dir {
        /// Which.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A certificate to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A file of certificates to trust.
    #[error("`{}` can't be read", path.display())]
    Root {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// How eagerly a tag is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Its registry is asked; what the tag meant last counts only where there is no
    /// answer.
    Registry,
    /// What the tag meant last counts where that is known.
    Memory,
}

/// A component, verified.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The component.
    pub bytes: Bytes,
    /// Its digest.
    pub sha256: Sha256Digest,
    /// Of an artifact in a registry: the digest of its manifest.
    pub manifest: Option<Sha256Digest>,
    /// Whether a signature was asked for and verified.
    pub signed: bool,
    /// Why it is a copy: its source gave no answer. Worth a warning.
    pub in_place_of: Option<SourceError>,
}

impl Fetcher {
    /// Makes the directory and reads certificates, so it blocks.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn new(config: FetcherConfig) -> Result<Self, Unusable> {
        let FetcherConfig { dir, extra_roots } = config;
        let store = Store::open(dir.clone()).map_err(|source| Unusable::Dir { dir, source })?;
        let client_config =
            ClientConfig { extra_roots: extra_roots.clone(), ..ClientConfig::default() };
        let client = Client::new(&client_config)?;
        let read =
            |path: PathBuf| std::fs::read(&path).map_err(|source| Unusable::Root { path, source });
        let extra_roots = extra_roots.into_iter().map(read).collect::<Result<_, _>>()?;
        // The registry client takes the process' own. Whoever was first has chosen
        // the same: there is one in this program.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self { client, store: Arc::new(store), extra_roots })
    }

    /// The component that is wanted. A source that doesn't answer is tried four
    /// times within a few seconds; a copy of exactly what is wanted, or of what a
    /// tag meant last, is taken in its place.
    ///
    /// # Errors
    /// Why there is none, or none that may be used.
    ///
    /// # Cancel safety
    /// Dropping it leaves at most a copy that nobody asked for.
    pub async fn fetch(&self, wanted: &Wanted, ask: Ask) -> Result<Fetched, SourceError> {
        let fetched = match &wanted.source {
            Source::File(path) => {
                let path = path.clone();
                let sign = wanted.verify_key.is_some();
                let (bytes, signature) = blocking(move || {
                    let signature = if sign { file::read_signature(&path)? } else { None };
                    Ok((file::read(&path)?, signature))
                })
                .await?;
                let sha256 = Sha256Digest::of(&bytes);
                (Fetched::fresh(bytes, sha256), signature)
            }
            Source::Https(url) => self.by_https(wanted, url).await?,
            Source::Oci(reference) => self.by_registry(wanted, reference, ask).await?,
        };
        verify(wanted, fetched)
    }

    /// Where a tag points now, in one try; `None` for what isn't a tag.
    ///
    /// # Errors
    /// Why its registry doesn't say.
    ///
    /// # Cancel safety
    /// Dropping it changes nothing.
    pub async fn points_to(&self, wanted: &Wanted) -> Result<Option<Sha256Digest>, SourceError> {
        match &wanted.source {
            Source::Oci(reference) if matches!(reference.version(), OciVersion::Tag(_)) => {
                self.repository(wanted, reference)?.manifest_digest().await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Notes that a component was taken over: this is what its tag means when its
    /// registry can't be asked.
    pub async fn taken_over(&self, wanted: &Wanted, manifest: Option<Sha256Digest>) {
        if let (Source::Oci(reference), Some(manifest)) = (&wanted.source, manifest)
            && matches!(reference.version(), OciVersion::Tag(_))
        {
            let (store, reference) = (Arc::clone(&self.store), reference.clone());
            self.note(move || store.learn_tag(&reference, &manifest)).await;
        }
    }

    async fn by_https(
        &self,
        wanted: &Wanted,
        url: &Uri,
    ) -> Result<(Fetched, Option<String>), SourceError> {
        let Some(sha256) = wanted.sha256 else {
            let what = format!("`{url}` may hold anything: it needs a `sha256`");
            return Err(SourceError::new(Reason::WrongDigest, what, "add it"));
        };
        let credentials = wanted.credentials.as_ref();
        // What is pinned can't have changed.
        let (copy, mut signature) = self.copy(sha256).await;
        let bytes = match copy {
            Some(bytes) => bytes,
            None => {
                tracing::info!(plugin = %wanted.name, %url, "fetching a plugin");
                let bytes = retried(wanted, || https::get(&self.client, url, credentials)).await?;
                signature = None;
                bytes
            }
        };
        let found = Sha256Digest::of(&bytes);
        if found != sha256 {
            return Err(wrong_digest(wanted, &found, &sha256));
        }
        if wanted.verify_key.is_some() && !signed(wanted, &sha256, signature.as_deref()) {
            let get = || https::get_signature(&self.client, url, credentials);
            signature = retried(wanted, get).await?;
        }
        self.keep(&sha256, &bytes, signature.as_deref()).await;
        Ok((Fetched::fresh(bytes, sha256), signature))
    }

    async fn by_registry(
        &self,
        wanted: &Wanted,
        reference: &OciReference,
        ask: Ask,
    ) -> Result<(Fetched, Option<String>), SourceError> {
        let repository = self.repository(wanted, reference)?;
        let known = match reference.version() {
            OciVersion::Digest(digest) => Some(*digest),
            OciVersion::Tag(_) => self.store.of_tag(reference),
        };
        let may_move = matches!(reference.version(), OciVersion::Tag(_));
        let mut in_place_of = None;
        let manifest = match known {
            Some(known) if !may_move || ask == Ask::Memory => known,
            // There is something to fall back on: one try will do.
            Some(known) => repository.manifest_digest().await.unwrap_or_else(|error| {
                in_place_of = Some(error);
                known
            }),
            None => retried(wanted, || repository.manifest_digest()).await?,
        };
        // What a manifest holds can't have changed.
        if let Some(sha256) = self.store.of_manifest(&manifest)
            && let (Some(bytes), signature) = self.copy(sha256).await
            && (wanted.verify_key.is_none() || signed(wanted, &sha256, signature.as_deref()))
        {
            let fresh = Fetched::fresh(bytes, sha256);
            return Ok((Fetched { manifest: Some(manifest), in_place_of, ..fresh }, signature));
        }
        tracing::info!(plugin = %wanted.name, source = %wanted.source, "fetching a plugin");
        let pulled = retried(wanted, || repository.pull(&manifest)).await?;
        let sha256 = Sha256Digest::of(&pulled.bytes);
        self.keep(&sha256, &pulled.bytes, pulled.signature.as_deref()).await;
        let store = Arc::clone(&self.store);
        self.note(move || store.learn_manifest(&manifest, &sha256)).await;
        let fetched = Fetched {
            manifest: Some(manifest),
            in_place_of,
            ..Fetched::fresh(pulled.bytes, sha256)
        };
        Ok((fetched, pulled.signature))
    }

    fn repository<'a>(
        &self,
        wanted: &Wanted,
        reference: &'a OciReference,
    ) -> Result<Repository<'a>, SourceError> {
        Repository::new(reference, wanted.credentials.as_ref(), &self.extra_roots)
    }

    async fn copy(&self, sha256: Sha256Digest) -> (Option<Bytes>, Option<String>) {
        let store = Arc::clone(&self.store);
        let read = move || Ok((store.component(&sha256), store.signature(&sha256)));
        blocking(read).await.unwrap_or_default()
    }

    async fn keep(&self, sha256: &Sha256Digest, bytes: &Bytes, signature: Option<&str>) {
        let (store, sha256, bytes) = (Arc::clone(&self.store), *sha256, bytes.clone());
        let signature = signature.map(str::to_owned);
        self.note(move || {
            let same = signature.is_none() || store.signature(&sha256) == signature;
            if same && store.component(&sha256).is_some() {
                return Ok(());
            }
            store.put(&sha256, &bytes, signature.as_deref())
        })
        .await;
    }

    /// What can't be kept is only fetched again.
    async fn note(&self, write: impl FnOnce() -> io::Result<()> + Send + 'static) {
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "no copy of a fetched plugin can be kept"),
            Err(error) => tracing::warn!(%error, "no copy of a fetched plugin was kept"),
        }
    }
}

impl Fetched {
    fn fresh(bytes: Bytes, sha256: Sha256Digest) -> Self {
        Self { bytes, sha256, manifest: None, signed: false, in_place_of: None }
    }
}

/// The last step of every way: whatever it was, it must be what was asked for.
fn verify(
    wanted: &Wanted,
    (fetched, signature): (Fetched, Option<String>),
) -> Result<Fetched, SourceError> {
    if let Some(expected) = &wanted.sha256
        && fetched.sha256 != *expected
    {
        return Err(wrong_digest(wanted, &fetched.sha256, expected));
    }
    if wanted.verify_key.is_none() {
        return Ok(fetched);
    }
    if signed(wanted, &fetched.sha256, signature.as_deref()) {
        return Ok(Fetched { signed: true, ..fetched });
    }
    let source = &wanted.source;
    Err(match signature {
        None => SourceError::new(
            Reason::WrongSignature,
            format!("`{source}` has no signature, and `verify-key` asks for one"),
            "sign it with `tidegate plugin sign`, and put the signature beside it",
        ),
        Some(_) => SourceError::new(
            Reason::WrongSignature,
            format!("the signature of `{source}` is not the key's in `verify-key`"),
            "find out who made this component; sign it anew only if you know",
        ),
    })
}

fn signed(wanted: &Wanted, digest: &Sha256Digest, signature: Option<&str>) -> bool {
    match (&wanted.verify_key, signature) {
        (Some(key), Some(signature)) => key.verifies(digest, signature),
        _ => false,
    }
}

fn wrong_digest(wanted: &Wanted, found: &Sha256Digest, expected: &Sha256Digest) -> SourceError {
    SourceError::new(
        Reason::WrongDigest,
        format!("`{}` has the SHA-256 {found}, not {expected}", wanted.source),
        "find out why it changed; write the new digest into `sha256` only if that is meant",
    )
}

/// Tries again what may pass by itself.
async fn retried<T, F: Future<Output = Result<T, SourceError>>>(
    wanted: &Wanted,
    mut attempt: impl FnMut() -> F,
) -> Result<T, SourceError> {
    for delay in BACK_OFF {
        match attempt().await {
            Err(error) if error.retry() == Retry::Safe => {
                tracing::warn!(plugin = %wanted.name, %error, again_in = ?delay, "not fetched yet");
                tokio::time::sleep(delay).await;
            }
            outcome => return outcome,
        }
    }
    attempt().await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            Err(SourceError::new(Reason::Unusable, error.to_string(), "see the gateway's log"))
        }
    }
}
