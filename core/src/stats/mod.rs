//! Numbers that merge exactly: histograms and windows.

mod layout;
mod sketch;

pub use sketch::{Sketch, WindowSketch};
