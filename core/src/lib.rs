//! Tidegate's state machines.
//!
//! Everything here is a pure function of what it is given: no clock, no socket, no thread, no file, no entropy. A
//! [`Node`] takes an [`Event`] and the time, and returns [`Effect`]s; a driver (the tokio runtime, or the simulator)
//! performs them. Equal boots and equal events give equal effects, byte for byte.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod api;
pub mod bytes;
pub mod census;
pub mod client;
pub mod config;
pub mod coordinates;
pub mod digest;
pub mod effect;
pub mod event;
pub mod fault;
pub mod federation;
pub mod gate;
pub mod guard;
pub mod id;
mod index;
pub mod jobs;
pub mod ledger;
pub mod link;
pub mod manager;
pub mod node;
pub mod observe;
pub mod rng;
pub mod routing;
pub mod stats;
pub mod store;
pub mod suspicion;
pub mod swim;
pub mod time;
pub mod wheel;
pub mod wire;
pub mod worker;

pub use config::Boot;
pub use effect::{Effect, Effects};
pub use event::Event;
pub use node::Node;
pub use observe::Observation;
pub use time::{Duration, Instant, Now, WallTime};
