//! What keeps a node from wasting itself on others: circuits that open when a peer stops answering.
//!
//! Pure values that a node's machine owns and asks; nothing here sends, waits or fails.

mod breaker;

pub use breaker::{Breakers, FAILURES, OPEN_FOR, WINDOW};
