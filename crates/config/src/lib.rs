//! tidegate-config
