//! `tidegate init`: authority, certificates, keys and configuration files of a new cluster.
//!
//! In: how many nodes, and where. Out: files that run as they are, on loopback ports. What exists is never
//! overwritten; private files are readable by their owner alone. The same authority, without a file of its own, serves
//! clusters inside one process.

mod authority;
mod files;
#[cfg(test)]
mod tests;
mod throwaway;

pub use authority::{Authority, AuthorityError, Issued, random_hex};
pub use files::{InitError, InitOptions, Made, init};
pub use throwaway::ThrowAway;
