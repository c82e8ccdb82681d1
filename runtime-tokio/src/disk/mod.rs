//! A node's durable rows: one redb file, one writer thread.
