//! The driver against real namespaces: as root and as another user.

mod adoption;
mod conformance;
mod ground;
mod isolation;
mod leaks;
mod life;
mod neighbours;
mod refusals;
mod roots;
mod unprivileged;
