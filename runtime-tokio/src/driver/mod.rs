//! The thread that owns a node: feeds it events, performs its effects.
