//! Fault points in the drivers of nodes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a driver may do to its node without breaking the contract of a step, and hardly ever does. A point is on for a
/// whole run, until everything is healed, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// The node hears that a write is durable up to 50 ms after it is.
    StoredLate,
    /// The timer fires up to 2 s late.
    WakeLate,
    /// The node is woken although nothing is due: early, or for nothing.
    WakeForNothing,
    /// The node gets no turn for up to 300 ms; what has come meanwhile comes at once, timers too.
    Hiccup,
    /// Of events that wait, one of another source comes first. Each source keeps its order.
    Reorder,
    /// A connection breaks just after something was sent on it, which may have arrived or not.
    ResetAfterSend,
    /// What was sent on a connection that broke is delivered once more on the next one, by the same process.
    Redeliver,
    /// A client's stream or call is closed while the gate answers it.
    CallClosed,
}

impl Point {
    /// Every one, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::StoredLate,
        Self::WakeLate,
        Self::WakeForNothing,
        Self::Hiccup,
        Self::Reorder,
        Self::ResetAfterSend,
        Self::Redeliver,
        Self::CallClosed,
    ];

    /// The name in files, and under which it is counted.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StoredLate => "stored_late",
            Self::WakeLate => "wake_late",
            Self::WakeForNothing => "wake_for_nothing",
            Self::Hiccup => "hiccup",
            Self::Reorder => "reorder",
            Self::ResetAfterSend => "reset_after_send",
            Self::Redeliver => "redeliver",
            Self::CallClosed => "call_closed",
        }
    }
}
