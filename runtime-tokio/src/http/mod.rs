//! The HTTP API of a gate.
