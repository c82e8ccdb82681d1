//! The thread that owns a node: feeds it events, performs its effects.
//!
//! In: what the network, the disk, the executors and the API put into its [`Inbox`]. Out: effects, performed in their
//! order. It never decides anything, never waits for anything but its inbox and the node's next deadline, and does no
//! work of the load: a machine busy with load still steps its node.

mod api;
mod clock;
mod executors;
mod inbox;
mod metrics;
mod testimony;
mod thread;
mod usage;

pub use api::{ApiHandle, EventStream, NodeGone, Reply};
pub use clock::NodeClock;
pub use executors::{ExecEvents, Executors, ExecutorsFactory};
pub(crate) use inbox::Input;
pub use inbox::{Inbox, InboxSender};
pub use metrics::Metrics;
pub use testimony::Testimony;
pub use thread::{Driver, DriverHandle, Exit, Parts};
pub use usage::keep_sampling;
