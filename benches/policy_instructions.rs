//! Decides so many times, for a profiler that counts instructions: see
//! `cargo xtask bench --instructions`.

use std::hint::black_box;

use tidegate_benches::decisions::{Decisions, Signed, of_tenant};
use tidegate_policy::Isolation;

/// Room for so many instances: each is four gibibytes of addresses to a profiler.
const INSTANCES: u32 = 12;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(what), Some(count)) =
        (arguments.next(), arguments.next().and_then(|n| n.parse::<u32>().ok()))
    else {
        eprintln!("usage: policy_instructions shared|signed|alone|tenant COUNT");
        std::process::exit(2);
    };
    let decisions = match what.as_str() {
        "signed" => Decisions::by_signature_among(Signed::EdDsa, INSTANCES),
        "alone" => Decisions::by_token_among(2, Isolation::Call, INSTANCES),
        "tenant" => Decisions::by_token_among(2, Isolation::Tenant, INSTANCES),
        _ => Decisions::by_token_among(2, Isolation::Shared, INSTANCES),
    };
    let who = of_tenant(0);
    for _ in 0..count {
        if what == "tenant" {
            black_box(decisions.place(&who));
        } else {
            black_box(decisions.decide());
        }
    }
}
