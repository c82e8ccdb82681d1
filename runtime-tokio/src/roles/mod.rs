//! A running node of any role, as a handle.
