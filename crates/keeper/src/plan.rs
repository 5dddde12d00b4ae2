//! What a sandbox's file system is made of, as data: the gateway composes it,
//! init carries it out step by step, from an empty root.

use serde::{Deserialize, Serialize};

/// The steps, in order. All paths are absolute and mean the sandbox's root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// First to last. Afterwards the root itself becomes read-only.
    pub steps: Vec<Step>,
}

/// One step. Missing parent directories of `at` are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// A directory with this mode.
    Directory {
        /// Where.
        at: String,
        /// Its mode.
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// Where.
        at: String,
        /// What it says.
        to: String,
    },
    /// A regular file.
    File {
        /// Where.
        at: String,
        /// Its content.
        content: Vec<u8>,
    },
    /// Something that exists appears here too, with everything mounted beneath it.
    Bind {
        /// What.
        from: Origin,
        /// Where; made when it is missing.
        at: String,
        /// What may be done with it.
        access: Access,
    },
    /// An empty file system in memory.
    Memory {
        /// Where.
        at: String,
        /// Bytes it may hold.
        size: u64,
        /// Mode of its root.
        mode: u32,
        /// Whose its root is.
        owner: Owner,
    },
    /// The processes of the sandbox.
    Processes {
        /// Where: `/proc`.
        at: String,
    },
    /// Pseudo-terminals of its own.
    Terminals {
        /// Where: `/dev/pts`.
        at: String,
    },
    /// Makes what is there unwritable. Nothing there: nothing happens.
    Seal {
        /// What.
        at: String,
    },
    /// Covers a file by nothing, a directory by an empty one. Nothing there:
    /// nothing happens.
    Hide {
        /// What.
        at: String,
    },
    /// Takes a mount of an earlier step away.
    Unmount {
        /// Where it is.
        at: String,
    },
}

/// Where a bind comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A detached mount that came with the message, by its place in it.
    Handed(u8),
    /// A path of the machine, opened with the gateway's user's rights.
    Machine(String),
    /// A path inside, as the steps so far made it.
    Inside(String),
}

/// What may be done in a mount. None allows set-user-id programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Reading and executing; recursive.
    ReadOnly,
    /// Everything but device nodes.
    ReadWrite,
    /// A device node of the machine: /dev/null.
    Device,
}

/// A user inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// Whoever init is.
    System,
    /// The tenant's user.
    App,
}
