//! What the relay counts; the names are listed on the crate's front page.

use metrics::{Counter, Gauge, counter, gauge};

use crate::peers::PacketDelivery;

/// Handles of the metrics that every packet touches, looked up once.
pub(crate) struct Meters {
    pub(crate) connections: Gauge,
    packets: Counter,
    bytes: Counter,
    queue_full: Counter,
    not_here: Counter,
    pub(crate) stun_answered: Counter,
    pub(crate) stun_ignored: Counter,
}

impl Meters {
    pub(crate) fn new() -> Self {
        let dropped = |reason| counter!("bowline_relay_packets_dropped_total", "reason" => reason);
        let stun = |outcome| counter!("bowline_relay_stun_total", "outcome" => outcome);
        Self {
            connections: gauge!("bowline_relay_connections"),
            packets: counter!("bowline_relay_packets_total"),
            bytes: counter!("bowline_relay_bytes_total"),
            queue_full: dropped("queue_full"),
            not_here: dropped("not_here"),
            stun_answered: stun("answered"),
            stun_ignored: stun("ignored"),
        }
    }

    /// Counts one packet of so many bytes.
    pub(crate) fn count_delivery(&self, delivery: PacketDelivery, bytes: usize) {
        match delivery {
            PacketDelivery::Queued { dropped } => {
                self.packets.increment(1);
                self.bytes.increment(bytes as u64);
                self.queue_full.increment(dropped);
            }
            PacketDelivery::NotHere => self.not_here.increment(1),
        }
    }
}

/// Counts a connection turned away before it was served.
pub(crate) fn count_refusal(reason: &'static str) {
    counter!("bowline_relay_refused_total", "reason" => reason).increment(1);
}

/// Counts the end of a connection that was served.
pub(crate) fn count_end(reason: &'static str) {
    counter!("bowline_relay_ended_total", "reason" => reason).increment(1);
}

/// Counts a connection that had to wait because another machine uses its key.
pub(crate) fn count_contest() {
    counter!("bowline_relay_contested_total").increment(1);
}
