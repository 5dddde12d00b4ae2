//! tidegate-keeper
