//! One database interface over PostgreSQL and SQLite: migrations, group commit, change log, audit.
