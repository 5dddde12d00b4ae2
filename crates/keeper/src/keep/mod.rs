//! keeper: owns a sandbox's user and network namespace and outlives the gateway.

mod control;
mod launch;
mod log;
mod network;
mod run;

pub(crate) use launch::enter_namespaces;
pub(crate) use launch::launch;
pub(crate) use network::bring_up;
