//! Components in OCI registries: the layout that the CNCF's WASM working group
//! describes (one layer of `application/wasm`), and any artifact of one layer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError as Oci;
use oci_client::manifest::{OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use tidegate_types::{OciReference, OciVersion, Sha256Digest};
use tokio::io::AsyncWrite;
use tokio::time::timeout;

use crate::error::{Reason, SourceError};
use crate::{Credentials, MAX_COMPONENT, signature};

const WASM: &str = "application/wasm";
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// For a manifest, authentication included.
const MANIFEST_WITHIN: Duration = Duration::from_secs(30);
/// A large component over a slow line.
const PULL_WITHIN: Duration = Duration::from_secs(300);

/// A component as a registry gave it: with the digest that its manifest says.
#[derive(Debug)]
pub(crate) struct Pulled {
    pub(crate) bytes: Bytes,
    /// The signature in the manifest's annotations.
    pub(crate) signature: Option<String>,
}

/// One repository of one registry.
pub(crate) struct Repository<'a> {
    client: Client,
    reference: &'a OciReference,
    auth: RegistryAuth,
}

impl<'a> Repository<'a> {
    /// A client of its own: the library keeps one set of credentials per registry,
    /// and two plugins may have two.
    pub(crate) fn new(
        reference: &'a OciReference,
        credentials: Option<&Credentials>,
        extra_roots: &[Vec<u8>],
    ) -> Result<Self, SourceError> {
        let certificate =
            |pem: &Vec<u8>| Certificate { encoding: CertificateEncoding::Pem, data: pem.clone() };
        let client = Client::try_from(ClientConfig {
            // What is not encrypted doesn't leave the machine.
            protocol: if reference.is_loopback() {
                ClientProtocol::Http
            } else {
                ClientProtocol::Https
            },
            extra_root_certificates: extra_roots.iter().map(certificate).collect(),
            // A component runs on every platform: an index of several is a mistake.
            platform_resolver: None,
            connect_timeout: Some(CONNECT_WITHIN),
            read_timeout: Some(MANIFEST_WITHIN),
            user_agent: concat!("tidegate/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        })
        .map_err(|error| failed(reference, &error))?;
        let auth = credentials.map_or(RegistryAuth::Anonymous, |it| {
            RegistryAuth::Basic(it.username.clone(), it.password.reveal().to_owned())
        });
        Ok(Self { client, reference, auth })
    }

    /// Where the reference points now: the digest of a manifest.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection.
    pub(crate) async fn manifest_digest(&self) -> Result<Sha256Digest, SourceError> {
        let tag = match self.reference.version() {
            OciVersion::Digest(digest) => return Ok(*digest),
            OciVersion::Tag(tag) => tag.clone(),
        };
        let reference = self.with_tag(tag);
        let asked = self.client.fetch_manifest_digest(&reference, &self.auth);
        let digest = match timeout(MANIFEST_WITHIN, asked).await {
            Ok(digest) => digest.map_err(|error| failed(self.reference, &error))?,
            Err(_) => return Err(self.too_slow(MANIFEST_WITHIN)),
        };
        digest.parse().map_err(|_| {
            self.unusable("its registry names manifests by something else than SHA-256")
        })
    }

    /// The component of the manifest with that digest.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection.
    pub(crate) async fn pull(&self, manifest: &Sha256Digest) -> Result<Pulled, SourceError> {
        let reference = self.with_digest(manifest);
        let pulled = async {
            let found = self.client.pull_image_manifest(&reference, &self.auth).await;
            // The digest was asked for, so the library has checked it.
            let (manifest, _) = found.map_err(|error| failed(self.reference, &error))?;
            let layer = self.layer(&manifest)?;
            let mut bytes = Bounded { bytes: Vec::new(), most: MAX_COMPONENT };
            let blob = self.client.pull_blob(&reference, layer, &mut bytes).await;
            blob.map_err(|error| failed(self.reference, &error))?;
            let signature =
                manifest.annotations.and_then(|mut all| all.remove(signature::ANNOTATION));
            Ok(Pulled { bytes: bytes.bytes.into(), signature })
        };
        match timeout(PULL_WITHIN, pulled).await {
            Ok(pulled) => pulled,
            Err(_) => Err(self.too_slow(PULL_WITHIN)),
        }
    }

    /// The only layer, or the only one that calls itself WASM.
    fn layer<'m>(&self, manifest: &'m OciImageManifest) -> Result<&'m OciDescriptor, SourceError> {
        let wasm: Vec<_> =
            manifest.layers.iter().filter(|layer| layer.media_type == WASM).collect();
        let layer = match (wasm.as_slice(), manifest.layers.as_slice()) {
            ([layer], _) => *layer,
            ([], [layer]) => layer,
            ([], []) => return Err(self.unusable("it has no layer")),
            _ => return Err(self.unusable("it has more than one layer, and not one of WASM")),
        };
        if layer.media_type.contains(".tar") {
            return Err(self.unusable("it is a container image, not a component"));
        }
        match usize::try_from(layer.size) {
            Ok(size) if size <= MAX_COMPONENT => Ok(layer),
            _ => Err(self.unusable("its component is too large")),
        }
    }

    fn with_tag(&self, tag: String) -> Reference {
        let (registry, repository) = self.place();
        Reference::with_tag(registry, repository, tag)
    }

    fn with_digest(&self, digest: &Sha256Digest) -> Reference {
        let (registry, repository) = self.place();
        Reference::with_digest(registry, repository, format!("sha256:{digest}"))
    }

    fn place(&self) -> (String, String) {
        (self.reference.registry().to_owned(), self.reference.repository().to_owned())
    }

    fn unusable(&self, what: &str) -> SourceError {
        SourceError::new(
            Reason::Unusable,
            format!("`oci://{}` can't be used: {what}", self.reference),
            "push the component alone, as one layer of `application/wasm`",
        )
    }

    fn too_slow(&self, within: Duration) -> SourceError {
        let within = within.as_secs();
        SourceError::unreachable(format!("`oci://{}` took more than {within} s", self.reference))
    }
}

/// The library's errors, as ours. Their texts are cut: they may hold whole pages.
fn failed(reference: &OciReference, error: &Oci) -> SourceError {
    let text: String = tidegate_types::fault::chain(error)
        .chars()
        .take(300)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let what = format!("`oci://{reference}` can't be pulled: {text}");
    let credentials = "check the plugin's `credentials`, and that they may pull this repository";
    let not_there = "check repository and tag in `source`";
    match error {
        Oci::AuthenticationFailure(_) | Oci::UnauthorizedError { .. } => {
            SourceError::new(Reason::Forbidden, what, credentials)
        }
        Oci::ImageManifestNotFoundError(_) => SourceError::new(Reason::NotFound, what, not_there),
        Oci::ServerError { code, .. } => match code {
            401 | 403 => SourceError::new(Reason::Forbidden, what, credentials),
            404 => SourceError::new(Reason::NotFound, what, not_there),
            429 | 500.. => SourceError::unreachable(what),
            _ => SourceError::new(Reason::Unusable, what, not_there),
        },
        Oci::RegistryError { envelope, .. } => {
            use oci_client::errors::OciErrorCode as Code;
            let is = |codes: &[Code]| envelope.errors.iter().any(|it| codes.contains(&it.code));
            if is(&[Code::Unauthorized, Code::Denied]) {
                SourceError::new(Reason::Forbidden, what, credentials)
            } else if is(&[Code::ManifestUnknown, Code::NameUnknown, Code::BlobUnknown]) {
                SourceError::new(Reason::NotFound, what, not_there)
            } else if is(&[Code::Toomanyrequests]) {
                SourceError::unreachable(what)
            } else {
                SourceError::new(Reason::Unusable, what, not_there)
            }
        }
        Oci::RequestError(_) => SourceError::unreachable(what),
        Oci::DigestError(_) => SourceError::new(
            Reason::WrongDigest,
            what,
            "the registry is damaged, or somebody is in between; don't trust it",
        ),
        _ => SourceError::new(
            Reason::Unusable,
            what,
            "push the component alone, as one layer of `application/wasm`",
        ),
    }
}

/// Takes bytes up to a bound.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        more: &[u8],
    ) -> Poll<io::Result<usize>> {
        if more.len() > self.most - self.bytes.len() {
            return Poll::Ready(Err(io::Error::other("it is longer than its manifest says")));
        }
        self.bytes.extend_from_slice(more);
        Poll::Ready(Ok(more.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
