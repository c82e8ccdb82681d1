//! A running node of any role, as a handle.
//!
//! In: who the node is, whom it knows, its sockets, keys and folder ([`NodeSetup`]). Out: a [`RunningNode`]. The same
//! for a process that serves one node ([`serve`]) and for a cluster inside one process.

mod serve;
mod setup;
#[cfg(test)]
mod tests;

pub use serve::serve;
pub use setup::{NodeSetup, RunningNode, StartError};
