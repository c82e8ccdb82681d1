//! Tidegate in a seeded, simulated world.
//!
//! The nodes are the very machines of `tidegate-core`. The world around them (time, links, disks, clocks, executors,
//! clients) is made of values and hashes: no thread, no wall clock, no entropy, no static. A [`plan::Plan`] goes in; a
//! digest, the faults that fired and the violations that the oracles found come out.

pub mod cli;
pub mod coverage;
pub mod explain;
pub mod fingerprint;
pub mod golden;
mod known;
pub mod lifeguard;
pub mod oracles;
pub mod ping;
pub mod plan;
pub mod runner;
pub mod scenario;
pub mod schedule;
pub mod search;
pub mod shrink;
pub mod swarm;
pub mod twice;
pub mod world;
