//! Private PostgreSQL and Redis processes for tests.
