//! What people are given to read and to edit is true.

mod papers;
mod samples;
