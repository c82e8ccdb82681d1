//! The built-in target of a first run.
