//! The driver against real namespaces: as root and as another user.

mod conformance;
mod ground;
mod life;
