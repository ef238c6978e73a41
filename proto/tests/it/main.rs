//! The contracts and their page.

mod readme;
mod roles;
