//! Cgroups: limits, freezing and accounts, by whichever version the machine has
//! for each.
//!
//! Every run of a command gets fresh ones (killing by cgroup poisons the old), and
//! where they are is remembered by its keeper, so that a restarted gateway finds
//! them again.

mod discover;
mod group;

pub(crate) use discover::Cgroups;
pub(crate) use group::Group;

use serde::{Deserialize, Serialize};

/// What a cgroup is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    Memory,
    Cpu,
    CpuAccounts,
    Pids,
    Freezer,
}

impl Role {
    pub(crate) const ALL: [Self; 5] =
        [Self::Memory, Self::Cpu, Self::CpuAccounts, Self::Pids, Self::Freezer];

    /// The controller of version 1.
    pub(crate) const fn v1(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::CpuAccounts => "cpuacct",
            Self::Pids => "pids",
            Self::Freezer => "freezer",
        }
    }

    /// The controller of version 2; freezing needs none there.
    pub(crate) const fn v2(self) -> Option<&'static str> {
        match self {
            Self::Memory => Some("memory"),
            Self::Cpu | Self::CpuAccounts => Some("cpu"),
            Self::Pids => Some("pids"),
            Self::Freezer => None,
        }
    }
}

/// Which of the two interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Version {
    V1,
    V2,
}
