//! The contracts and their page.

mod readme;
