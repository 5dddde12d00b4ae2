//! tidegate-driver-linux
