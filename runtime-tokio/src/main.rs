//! `tidegate`: the one binary.

fn main() {}
