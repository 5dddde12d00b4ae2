//! What the driver is told, and why it may refuse to open its state directory.

use std::io;
use std::path::PathBuf;

/// What [`LinuxDriver::new`](crate::LinuxDriver::new) needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of everything durable: made with mode 0700 when it is missing.
    /// One process at a time uses it.
    pub state_dir: PathBuf,
}

/// Why a state directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or something in it cannot be read or written.
    #[error("cannot use the state directory at `{}`", path.display())]
    Io {
        /// What could not be read or written.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It was written by another version of tidegate.
    #[error(
        "the state directory `{}` has layout {found}, this tidegate knows layout {known}; use the \
         version that made it, or another directory",
        path.display()
    )]
    Layout {
        /// The state directory.
        path: PathBuf,
        /// What its `layout` file says.
        found: String,
        /// What this version writes.
        known: u32,
    },
    /// A file in it does not say what it should.
    #[error(
        "`{}` is damaged: {reason}; restore it from a backup, or move the state directory away",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process uses it.
    #[error(
        "the state directory `{}` is in use by another tidegate; stop that one, or use another \
         directory",
        path.display()
    )]
    InUse {
        /// The state directory.
        path: PathBuf,
    },
}
