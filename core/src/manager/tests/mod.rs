//! Tests of the manager: transcripts with fake gates and workers.

mod bench;
mod faults;
mod lifecycle;
mod load;
mod registration;
mod tier;
