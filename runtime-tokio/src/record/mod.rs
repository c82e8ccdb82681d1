//! Recordings of a node's life, and their replay.
