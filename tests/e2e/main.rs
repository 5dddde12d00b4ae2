//! End-to-end tests: the built binary, driven from outside.
