//! The plugin host with real plugins: the first-party ones, and one that does
//! everything wrong.

mod authority;
mod calling;
mod contract;
mod first_party;
mod fixtures;
mod hoarder;
mod hostile;
mod nonsense;
mod poison;
mod reload;
mod signed;
mod stage;
