//! What a call can die of.

use std::hint::black_box;

use tidegate_plugin::prelude::{Failure, failure};

/// Dies as `how` says, fails, or returns when it says neither.
pub(crate) fn ruin(how: &str) -> Result<(), Failure> {
    match how {
        "trap" => std::process::abort(),
        "loop" => loop {
            black_box(());
        },
        "overflow-the-stack" => {
            black_box(deeper(0));
            Ok(())
        }
        "eat-memory" => {
            let mut eaten: Vec<Vec<u8>> = Vec::new();
            loop {
                eaten.push(black_box(vec![1; 1 << 20]));
            }
        }
        "fail" => Err(failure("no-idea", "could not decide")),
        _ => Ok(()),
    }
}

/// No tail call, and nothing that lives in linear memory: it is the host's stack
/// that this eats.
#[inline(never)]
fn deeper(depth: u64) -> u64 {
    if depth == u64::MAX { 0 } else { deeper(depth + 1).rotate_left(3) ^ depth }
}
