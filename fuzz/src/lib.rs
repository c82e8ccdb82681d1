//! What the fuzz targets do with their bytes.
//!
//! Each module with a `run` is one target. The same files are included by `tests/fuzz.rs` of the crate they are about,
//! which feeds them with a bounded number of inputs from [`mill`]: they cannot rot between two fuzzing sessions.

pub mod cbor;
pub mod input;
#[cfg(feature = "files")]
pub mod job_file;
pub mod mill;
pub mod rows;
pub mod samples;
#[cfg(feature = "files")]
pub mod scenario_file;
pub mod steps;
pub mod wire;
