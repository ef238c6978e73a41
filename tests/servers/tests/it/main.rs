//! The servers start, restart and end.

mod servers;
