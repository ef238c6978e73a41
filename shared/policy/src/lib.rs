//! The policy language: from text to compiled visibility and packet filters, without IO.
