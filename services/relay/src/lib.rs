//! A small DERP and STUN relay for networks without another.
