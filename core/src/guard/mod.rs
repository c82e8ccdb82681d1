//! What keeps a node from wasting itself: circuits that open when a peer stops answering, holds for one that is well now
//! and not then, how the work of others gets on, and the gauge of its own load.
//!
//! Pure values that a node's machine owns and asks; nothing here sends, waits or fails.

mod breaker;
mod condition;
mod flaps;
mod pace;

pub use breaker::{Breakers, Patience};
pub use condition::{Condition, Gauge, HYSTERESIS, Usage};
pub use flaps::Flaps;
pub use pace::Pace;
