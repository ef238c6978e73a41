//! Policy documents, and what they mean for each node.
