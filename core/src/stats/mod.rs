//! Numbers that merge exactly: histograms and windows.

mod sketch;

pub use sketch::Sketch;
