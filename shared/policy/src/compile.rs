//! From a policy and an inventory to what each class of nodes is told.

mod class;
mod compiler;
mod output;
mod source_list;
#[cfg(test)]
mod tests;

pub use compiler::Compiler;
pub use output::{
    Address, Class, Destination, FilterRule, Membership, Output, SourceList, Visible,
};
