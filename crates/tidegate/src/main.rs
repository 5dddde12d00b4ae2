//! The tidegate binary: composition and command line, nothing else.
#![forbid(unsafe_code)]

mod hello;

fn main() {
    let _ = hello::run(0);
}
