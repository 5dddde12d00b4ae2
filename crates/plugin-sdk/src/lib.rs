//! tidegate-plugin
