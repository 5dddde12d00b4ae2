//! Copies of what was fetched, and what tags meant last.
//!
//! ```text
//! DIR/sha256/HEX.wasm    a component; its digest is checked at every reading
//! DIR/sha256/HEX.sig     its signature, as it came
//! DIR/index.json         manifest → component, tag → manifest
//! ```
//! Nothing here is trusted: a copy with another digest is removed, and a signature
//! is verified like one that just came. Everything blocks.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_types::{OciReference, Sha256Digest};

/// How many components are kept; the longest unused go first.
const KEPT: usize = 64;

/// A directory of copies.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    index: Mutex<Index>,
}

/// Digests are written as text: the file is for people too.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Index {
    manifests: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
}

impl Store {
    /// Uses `dir`, making it where it doesn't exist. A damaged index is begun anew:
    /// what it said can be asked again.
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir.join("sha256"))?;
        let index = match fs::read(dir.join("index.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(dir = %dir.display(), %error, "the index of fetched plugins was damaged");
                Index::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Index::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { dir, index: Mutex::new(index) })
    }

    /// The component with that digest.
    pub(crate) fn component(&self, digest: &Sha256Digest) -> Option<Bytes> {
        let path = self.path(digest, "wasm");
        let bytes = fs::read(&path).ok()?;
        if Sha256Digest::of(&bytes) != *digest {
            tracing::warn!(path = %path.display(), "a copy of a plugin was damaged and is removed");
            let _ = fs::remove_file(&path);
            return None;
        }
        // Unused copies go first; that it was used is worth no error.
        let _ = fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(bytes.into())
    }

    /// The signature that came with the component of that digest.
    pub(crate) fn signature(&self, digest: &Sha256Digest) -> Option<String> {
        fs::read_to_string(self.path(digest, "sig")).ok()
    }

    /// Keeps a component, and its signature where it has one.
    pub(crate) fn put(
        &self,
        digest: &Sha256Digest,
        bytes: &[u8],
        signature: Option<&str>,
    ) -> io::Result<()> {
        if let Some(signature) = signature {
            write(&self.path(digest, "sig"), signature.as_bytes())?;
        }
        write(&self.path(digest, "wasm"), bytes)?;
        self.prune();
        Ok(())
    }

    /// The component that a manifest holds.
    pub(crate) fn of_manifest(&self, manifest: &Sha256Digest) -> Option<Sha256Digest> {
        self.index().manifests.get(&manifest.to_string())?.parse().ok()
    }

    /// What a tag meant when its component was last taken over.
    pub(crate) fn of_tag(&self, reference: &OciReference) -> Option<Sha256Digest> {
        self.index().tags.get(&reference.to_string())?.parse().ok()
    }

    /// Remembers which component a manifest holds.
    pub(crate) fn learn_manifest(
        &self,
        manifest: &Sha256Digest,
        component: &Sha256Digest,
    ) -> io::Result<()> {
        self.learn(|index| &mut index.manifests, manifest.to_string(), component)
    }

    /// Remembers what a tag means.
    pub(crate) fn learn_tag(
        &self,
        reference: &OciReference,
        manifest: &Sha256Digest,
    ) -> io::Result<()> {
        self.learn(|index| &mut index.tags, reference.to_string(), manifest)
    }

    fn learn(
        &self,
        which: fn(&mut Index) -> &mut BTreeMap<String, String>,
        key: String,
        digest: &Sha256Digest,
    ) -> io::Result<()> {
        let mut index = self.index();
        let value = digest.to_string();
        if which(&mut index).get(&key) == Some(&value) {
            return Ok(());
        }
        which(&mut index).insert(key, value);
        write(&self.dir.join("index.json"), &serde_json::to_vec_pretty(&*index)?)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, digest: &Sha256Digest, extension: &str) -> PathBuf {
        self.dir.join("sha256").join(format!("{digest}.{extension}"))
    }

    /// Drops the components unused for longest beyond [`KEPT`], and what the index
    /// says of them. Best effort: a leftover is only space.
    fn prune(&self) {
        let Ok(files) = fs::read_dir(self.dir.join("sha256")) else { return };
        let mut components: Vec<_> = files
            .flatten()
            .filter(|file| file.path().extension().is_some_and(|it| it == "wasm"))
            .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path())))
            .collect();
        components.sort_unstable();
        let surplus = components.len().saturating_sub(KEPT);
        for (_, path) in components.into_iter().take(surplus) {
            let _ = fs::remove_file(path.with_extension("sig"));
            let _ = fs::remove_file(path);
        }
    }
}

/// Whole or not at all, also when several processes write the same file.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let Some(dir) = path.parent() else { return Err(io::Error::other("it has no directory")) };
    let temporary = dir.join(format!(".{:016x}.tmp", rand::random::<u64>()));
    let written = (|| {
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_data()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_found_by_its_digest_and_only_while_it_has_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path().join("plugins")).expect("a store");
        let digest = Sha256Digest::of(b"component");
        assert_eq!(store.component(&digest), None);
        store.put(&digest, b"component", Some("signature")).expect("kept");
        assert_eq!(store.component(&digest).as_deref(), Some(&b"component"[..]));
        assert_eq!(store.signature(&digest).as_deref(), Some("signature"));

        fs::write(store.path(&digest, "wasm"), b"tampered").expect("written");
        assert_eq!(store.component(&digest), None);
        assert!(!store.path(&digest, "wasm").exists(), "the damaged copy is gone");
    }

    #[test]
    fn what_tags_meant_outlives_the_process_and_damage_only_forgets() {
        let dir = tempfile::tempdir().expect("a directory");
        let reference: OciReference = "localhost:5000/a:1".parse().expect("a reference");
        let (manifest, component) = (Sha256Digest::of(b"m"), Sha256Digest::of(b"c"));
        let store = Store::open(dir.path().to_owned()).expect("a store");
        store.learn_manifest(&manifest, &component).expect("written");
        store.learn_tag(&reference, &manifest).expect("written");

        let again = Store::open(dir.path().to_owned()).expect("a store");
        assert_eq!(again.of_tag(&reference), Some(manifest));
        assert_eq!(again.of_manifest(&manifest), Some(component));

        fs::write(dir.path().join("index.json"), "{").expect("written");
        let again = Store::open(dir.path().to_owned()).expect("a store");
        assert_eq!(again.of_tag(&reference), None);
    }

    #[test]
    fn the_longest_unused_go_first() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path().to_owned()).expect("a store");
        let put = |n: usize| {
            let bytes = n.to_string();
            let digest = Sha256Digest::of(bytes.as_bytes());
            store.put(&digest, bytes.as_bytes(), None).expect("kept");
            let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n as u64);
            let file = fs::File::open(store.path(&digest, "wasm")).expect("there");
            file.set_modified(then).expect("set");
            digest
        };
        let all: Vec<_> = (0..=KEPT).map(put).collect();
        assert_eq!(store.component(&all[0]), None);
        assert!(store.component(&all[1]).is_some());
        let _newest = put(KEPT + 1);
        assert!(store.component(&all[1]).is_some(), "it was used");
        assert_eq!(store.component(&all[2]), None);
    }
}
