//! What `mounts` and `objects` are about: object storage as a sandbox sees it.

/// A prefix of a bucket that a sandbox sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Name of a bucket in the operator's configuration.
    pub bucket: String,
    /// Ends with `/`; the sandbox sees nothing outside of it.
    pub prefix: String,
    /// Where it appears inside: absolute, without dot segments.
    pub path: String,
    /// How it appears there.
    pub mode: MountMode,
    /// Whether the sandbox may only read.
    pub read_only: bool,
    /// How many bytes may lie under the prefix.
    pub max_bytes: Option<u64>,
    /// How many objects may lie under the prefix.
    pub max_objects: Option<u64>,
}

/// How a mount appears inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MountMode {
    /// Files restored at start, saved at sleep and on a timer.
    Workspace,
    /// A live view of the prefix.
    Live,
    /// Only through the S3 endpoint inside.
    Endpoint,
}

/// One operation on an object, within a granted mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectOperation {
    /// As S3 names it: `GetObject`.
    pub action: String,
    /// Name of the bucket in the operator's configuration.
    pub bucket: String,
    /// Relative to the mount's prefix.
    pub key: String,
    /// What is copied, relative as `key` is.
    pub copy_source: Option<String>,
    /// Bytes to be written, where that is known.
    pub size: Option<u64>,
}
