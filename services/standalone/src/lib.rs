//! All of Bowline's services in one process.
