//! How much is used, and whether that is too much.
//!
//! Policy says which limits an identity has; this crate counts and refuses. The
//! request path takes an [`Account`] per request and asks it: a look into a
//! sharded map and one compare-and-swap per limit. No lock, no clock of its own,
//! no I/O: what was used is saved by a thread, once a second.
//!
//! | file | idea |
//! |---|---|
//! | `bucket.rs` | a token bucket in one atomic word, exact for every number |
//! | `shelf.rs` | all that is counted of one meter for one owner |
//! | `account.rs` | one identity with its limits: take, spend, enter, check |
//! | `level.rs` | one of something that is open now; gone when dropped |
//! | `books.rs` | the sharded maps, and what may be forgotten |
//! | `quotas.rs` | the whole, with the thread that saves |
//! | `ledger.rs` | what outlives the process |
//! | `usage.rs` | what is shown |
//!
//! **Not in here:** who has which limits, HTTP, and measuring.
#![forbid(unsafe_code)]

mod account;
mod books;
mod bucket;
mod clock;
mod exceeded;
mod ledger;
mod level;
mod quotas;
mod shelf;
mod usage;

pub use account::Account;
pub use clock::{Clock, Monotonic};
pub use exceeded::Exceeded;
pub use ledger::QuotaError;
pub use level::Level;
pub use quotas::{QuotaConfig, Quotas, Reading};
pub use usage::{Rate, Usage};
