//! What a sandbox sees of object storage: one of `mounts`.

use tidegate_types::Mount;

use crate::Implausible;
use crate::implausible::shown;
use crate::place::is_dots;

/// The most mounts of one sandbox.
pub const MAX_MOUNTS: usize = 64;
/// The longest prefix, in bytes: a key has at most 1,024, and something must follow.
pub const MAX_PREFIX: usize = 512;
/// The longest path inside, in bytes.
const MAX_PATH: usize = 1_024;
/// What the sandbox itself is made of: a mount there would hide it.
const TAKEN: &[&str] = &["/proc", "/sys", "/dev"];

/// The mount at `index`: its bucket's name, its prefix and its path. Whether there is
/// such a bucket, the configuration knows.
///
/// # Errors
/// The field that is wrong, within `mounts[INDEX]`.
pub fn mount(index: usize, mount: Mount) -> Result<Mount, Implausible> {
    let checked = check_bucket(&mount.bucket)
        .and_then(|()| check_prefix(&mount.prefix))
        .and_then(|()| check_path(&mount.path));
    checked.map_err(|wrong| wrong.within(&format!("mounts[{index}]")))?;
    Ok(mount)
}

/// Whether mounts can stand beside each other.
///
/// # Errors
/// When there are too many, or one lies in another: what is saved of the outer would
/// include the inner, which may be somebody else's.
pub fn apart(mounts: &[Mount]) -> Result<(), Implausible> {
    if mounts.len() > MAX_MOUNTS {
        let what = format!("{} of them; at most {MAX_MOUNTS}", mounts.len());
        return Err(Implausible::new("mounts", what));
    }
    for (index, mount) in mounts.iter().enumerate() {
        for (before, other) in mounts.iter().enumerate().take(index) {
            if within(&mount.path, &other.path) || within(&other.path, &mount.path) {
                let what = format!(
                    "{} and `mounts[{before}].path`, {}, lie in each other",
                    shown(&mount.path),
                    shown(&other.path)
                );
                return Err(Implausible::new(format!("mounts[{index}].path"), what));
            }
        }
    }
    Ok(())
}

fn within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn check_bucket(bucket: &str) -> Result<(), Implausible> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    if bucket.is_empty() || bucket.len() > 63 || !bucket.bytes().all(allowed) {
        return Err(Implausible::new("bucket", format!("{} isn't a bucket's name", shown(bucket))));
    }
    Ok(())
}

/// A prefix is compared with keys byte by byte, so nothing in it may be read in two
/// ways: by us and by a server that decodes or resolves.
fn check_prefix(prefix: &str) -> Result<(), Implausible> {
    let wrong = |what: &str| Err(Implausible::new("prefix", format!("{} {what}", shown(prefix))));
    if prefix.len() > MAX_PREFIX {
        return wrong("is longer than 512 bytes");
    }
    let Some(inner) = prefix.strip_suffix('/') else { return wrong("doesn't end with `/`") };
    if inner.split('/').any(|segment| segment.is_empty() || is_dots(segment)) {
        return wrong("begins with `/`, or has empty or dot segments");
    }
    let encoded = inner.to_ascii_lowercase();
    if inner.contains(|c: char| c.is_control() || c == '\\')
        || ["%2f", "%5c", "%00"].iter().any(|escape| encoded.contains(escape))
    {
        return wrong("contains control characters, `\\`, or an encoded separator");
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), Implausible> {
    let wrong = |what: &str| Err(Implausible::new("path", format!("{} {what}", shown(path))));
    if path.len() > MAX_PATH || path.contains(char::is_control) {
        return wrong("is long or contains control characters");
    }
    let Some(inner) = path.strip_prefix('/') else { return wrong("isn't absolute") };
    if inner.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return wrong("is the root, ends with `/`, or has empty or dot segments");
    }
    if TAKEN.iter().any(|taken| within(path, taken)) {
        return wrong("is the system's own");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidegate_types::MountMode;

    use super::*;

    fn asked(bucket: &str, prefix: &str, path: &str) -> Mount {
        Mount {
            bucket: bucket.into(),
            prefix: prefix.into(),
            path: path.into(),
            mode: MountMode::Workspace,
            read_only: false,
            max_bytes: None,
            max_objects: None,
        }
    }

    fn at(prefix: &str, path: &str) -> Result<Mount, Implausible> {
        mount(2, asked("data", prefix, path))
    }

    #[test]
    fn a_prefix_says_one_thing_only() {
        for good in ["users/42/", "a/", "a b/ü/", "100%/"] {
            assert!(at(good, "/data").is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "users/42",
            "/users/42/",
            "users//42/",
            "users/../42/",
            "../",
            "./",
            "users/%2e%2E/",
            "users%2f42/",
            "a\\b/",
            "a\0/",
            "a\n/",
        ] {
            let told = at(bad, "/data").expect_err(bad);
            assert_eq!(told.field, "mounts[2].prefix", "{bad:?}");
        }
        assert!(at(&format!("{}/", "a".repeat(512)), "/data").is_err());
    }

    #[test]
    fn a_path_inside_is_absolute_and_hides_nothing_of_the_system() {
        for good in ["/data", "/data/moltbot", "/procedures", "/home/u/.x"] {
            assert!(at("a/", good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "data",
            "/data/",
            "/data//x",
            "/data/../etc",
            "/./x",
            "/proc",
            "/proc/1",
            "/sys",
            "/dev/shm",
            "/a\0",
            "/a\n",
        ] {
            let told = at("a/", bad).expect_err(bad);
            assert_eq!(told.field, "mounts[2].path", "{bad:?}");
        }
    }

    #[test]
    fn buckets_have_names() {
        for bad in ["", "Data", "a/b", "a b", &"a".repeat(64)] {
            let told = mount(0, asked(bad, "a/", "/d")).expect_err(bad);
            assert_eq!(told.field, "mounts[0].bucket");
        }
    }

    #[test]
    fn no_mount_lies_in_another() {
        let mounts = |paths: &[&str]| -> Vec<Mount> {
            paths.iter().map(|path| at("a/", path).expect("fine")).collect()
        };
        assert!(apart(&mounts(&["/data", "/database", "/x/data"])).is_ok());
        for bad in [["/data", "/data"], ["/data", "/data/x"], ["/data/x", "/data"]] {
            assert_eq!(apart(&mounts(&bad)).expect_err("refused").field, "mounts[1].path");
        }
        assert!(apart(&vec![at("a/", "/d").expect("fine"); MAX_MOUNTS + 1]).is_err());
    }
}
