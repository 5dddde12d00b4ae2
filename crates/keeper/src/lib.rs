//! The two small processes of a sandbox, and what the gateway says to them.
//!
//! One static program with two lives. *keeper* stays outside of the sandbox's pid
//! and mount namespaces and owns its user and network namespace; *init* is pid 1
//! inside. The gateway's driver embeds the program, starts keepers and talks to
//! them over one `SOCK_SEQPACKET` socket each. This library is what both sides
//! share.
//!
//! | file | idea |
//! |---|---|
//! | `protocol.rs` | what gateway and keeper say to each other |
//! | `plan.rs` | what a sandbox's file system is made of, as data |
//! | `wire.rs` | messages with descriptors over one socket |
//! | `sys/` | the system calls that have no safe wrapper elsewhere |
//! | `main.rs`, `keep/`, `init/` | the program |
//!
//! **Not in here:** threads, async, policy, configuration, anything that tells one
//! tenant from another. keeper holds one sandbox and knows nothing else.

pub mod plan;
pub mod protocol;
pub mod sys;
pub mod wire;
