//! tidegate-egress
