//! The only service clients reach: transports, registration and map sessions.
