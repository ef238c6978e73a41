//! What every service process needs: configuration, telemetry, gRPC server and clients, drain.
