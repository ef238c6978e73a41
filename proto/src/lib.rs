//! The gRPC contracts between Bowline's services.
