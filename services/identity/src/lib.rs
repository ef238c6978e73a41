//! Who is behind a login: tailnets, users, roles and logins in flight.
