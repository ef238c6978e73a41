//! The bowline command line.

fn main() {}
