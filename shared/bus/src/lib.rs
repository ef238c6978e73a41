//! Change hints between processes: Redis pub/sub, or a channel inside one process.
