//! What keeps a node from wasting itself: circuits that open when a peer stops answering, and its gauge of its own load.
//!
//! Pure values that a node's machine owns and asks; nothing here sends, waits or fails.

mod breaker;
mod condition;

pub use breaker::{Breakers, FAILURES, OPEN_FOR, WINDOW};
pub use condition::{Condition, Gauge, HYSTERESIS, Usage};
