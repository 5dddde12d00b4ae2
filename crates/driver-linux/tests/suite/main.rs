//! The driver against real namespaces: as root and as another user.

mod ground;
mod life;
