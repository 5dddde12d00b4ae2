//! Whatever text an operator saves: reading it never panics, and everything that is
//! wrong is said with a place in the text and with what to do.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Err(problems) = tidegate_config::parse(text, "fuzzed.toml", Path::new("/etc/tidegate"))
    else {
        return;
    };
    assert!(!problems.0.is_empty(), "refused without a reason");
    let lines = text.split('\n').count();
    for problem in &problems.0 {
        assert!((1..=lines).contains(&problem.line), "{problem:?} of {lines} lines");
        assert!(problem.column >= 1, "{problem:?}");
        assert!(!problem.what.is_empty() && !problem.advice.is_empty(), "{problem:?}");
    }
    let in_order = problems.0.is_sorted_by_key(|problem| (problem.line, problem.column));
    assert!(in_order, "{problems:?}");
});
