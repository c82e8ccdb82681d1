//! The program as people meet it: real processes on loopback, what they say, and how they end.

mod api;
mod exits;
mod failures;
mod namespaces;
mod recording;
mod start;
mod support;
