//! tidegate-relay
