//! Files.

use std::fs;
use std::path::Path;

use tidegate_plugin_source::{
    Ask, MAX_COMPONENT, Reason, SigningKey, Source, Unreadable, Wanted, read_bounded,
    read_signature, signature,
};
use tidegate_types::Sha256Digest;

use crate::{COMPONENT, fetcher, wanted};

#[tokio::test]
async fn a_file_must_have_the_digest_and_the_signature_that_are_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("policy.wasm");
    let fetcher = fetcher(dir.path());
    let plain = wanted(Source::File(path.clone()));
    let refused = async |wanted: &Wanted| {
        fetcher.fetch(wanted, Ask::Registry).await.expect_err("refused").reason
    };
    assert_eq!(refused(&plain).await, Reason::NotFound);
    fs::write(&path, COMPONENT).expect("written");
    let fetched = fetcher.fetch(&plain, Ask::Registry).await.expect("fetched");
    assert_eq!((&*fetched.bytes, fetched.signed), (COMPONENT, false));

    let other = Wanted { sha256: Some(Sha256Digest::of(b"other")), ..plain.clone() };
    assert_eq!(refused(&other).await, Reason::WrongDigest);

    let key = SigningKey::generate();
    let signed = Wanted { verify_key: Some(key.verify_key()), ..plain.clone() };
    assert_eq!(refused(&signed).await, Reason::WrongSignature);
    let beside = dir.path().join("policy.wasm.sig");
    let by_another = SigningKey::generate().sign(&Sha256Digest::of(COMPONENT));
    fs::write(&beside, by_another).expect("written");
    assert_eq!(refused(&signed).await, Reason::WrongSignature);
    fs::write(&beside, key.sign(&Sha256Digest::of(COMPONENT))).expect("written");
    assert!(fetcher.fetch(&signed, Ask::Registry).await.expect("fetched").signed);

    fs::write(&path, b"tampered").expect("written");
    assert_eq!(refused(&signed).await, Reason::WrongSignature);
}

#[tokio::test]
async fn a_pipe_is_no_component_and_nobody_waits_for_its_writer() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("gatekeeper.wasm");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
    assert!(made.success());
    let wanted = wanted(Source::File(path));
    let error = fetcher(dir.path()).fetch(&wanted, Ask::Registry).await.expect_err("refused");
    assert_eq!(error.reason, Reason::Unusable, "{error}");
}

#[tokio::test]
async fn a_directory_is_no_component() {
    let dir = tempfile::tempdir().expect("a directory");
    let wanted = wanted(Source::File(dir.path().to_owned()));
    let error = fetcher(dir.path()).fetch(&wanted, Ask::Registry).await.expect_err("refused");
    assert_eq!(error.reason, Reason::Unusable, "{error}");
}

#[test]
fn what_has_no_end_or_no_beginning_is_not_read_and_what_is_too_large_neither() {
    let dir = tempfile::tempdir().expect("a directory");
    let [pipe, file] = ["pipe", "file"].map(|name| dir.path().join(name));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success());
    for irregular in [Path::new("/dev/zero"), &pipe, dir.path()] {
        let read = read_bounded(irregular, 8);
        assert!(matches!(read, Err(Unreadable::Irregular)), "{}", irregular.display());
    }
    fs::write(&file, b"12345678").expect("written");
    assert_eq!(read_bounded(&file, 8).expect("as large as may be"), b"12345678");
    assert!(matches!(read_bounded(&file, 7), Err(Unreadable::TooLarge(7))));
    let huge = fs::File::create(&file).expect("made");
    huge.set_len(5 << 30).expect("sparse");
    assert!(matches!(read_bounded(&file, MAX_COMPONENT), Err(Unreadable::TooLarge(_))));
}

#[test]
fn a_signature_that_is_a_pipe_or_too_long_is_refused_and_none_is_none() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("policy.wasm");
    assert_eq!(read_signature(&path).expect("there is none"), None);
    let beside = signature::beside(&path);
    fs::write(&beside, "A".repeat(4096)).expect("written");
    let error = read_signature(&path).expect_err("too long");
    assert_eq!(error.reason, Reason::WrongSignature, "{error}");
    fs::remove_file(&beside).expect("removed");
    let made = std::process::Command::new("mkfifo").arg(&beside).status().expect("mkfifo runs");
    assert!(made.success());
    let error = read_signature(&path).expect_err("a pipe");
    assert_eq!(error.reason, Reason::WrongSignature, "{error}");
}
