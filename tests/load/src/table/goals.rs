//! The rows of the table, and what is wanted of each.

use crate::reading::RunReading::{
    self, BytesPerMessage, CpuPerOperation, CpuSeconds, Figure, Latency, Longest, Rate, Seconds,
};

/// The runs that the table is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableRun {
    /// One process, everybody reaches everybody.
    Serve,
    /// One process, people reach their own.
    ServeScoped,
    /// Separate services, everybody reaches everybody.
    Separate,
    /// Separate services, people reach their own.
    SeparateScoped,
    /// One process with three times as many nodes.
    Large,
    /// Idle streams inside of TLS.
    Memory,
    /// A small tailnet, whose people have as many nodes as in the larger ones.
    GrowthSmall,
    /// One three times as large.
    GrowthMiddle,
    /// One ten times as large.
    GrowthLarge,
    /// As many as there can be, at once.
    Crowd,
}

/// What is wanted of the figures of a row.
#[derive(Clone, Copy, Debug)]
pub enum WantedFigures {
    /// Each at most so much.
    AtMost(&'static [f64]),
    /// At least so much.
    AtLeast(f64),
    /// Nothing is wanted, it is only shown.
    Shown,
}

/// A metric: what it is read from, and what is wanted of it in which runs. Each of these is a row.
#[derive(Clone, Copy, Debug)]
pub struct TableGoal {
    /// The metric's number.
    pub number: &'static str,
    /// The metric, with its unit.
    pub metric: &'static str,
    /// The figure.
    pub reading: RunReading,
    /// The runs that it is read from, with what is wanted there.
    pub wanted: &'static [(TableRun, WantedFigures)],
}

use TableRun::{Crowd, Large, Memory, Separate, Serve};
use WantedFigures::{AtLeast, AtMost, Shown};

const fn goal(
    number: &'static str,
    metric: &'static str,
    reading: RunReading,
    wanted: &'static [(TableRun, WantedFigures)],
) -> TableGoal {
    TableGoal {
        number,
        metric,
        reading,
        wanted,
    }
}

/// The answer to somebody new while many connect.
const KEY: &str = "ms to answer GET /key";
/// How long views are wrong after all have connected.
const RIGHT: &str = "seconds from the last map until all was right";
/// What nodes at another gateway wait longer.
const BETWEEN: &str = "ms from one gateway to another, p50";
const FAILED: &str = "connections that failed";
const MISSING: &str = "nodes without a netmap";
const BYTES: &str = "bytes over those of first messages";
const CORES: &str = "cores of the server";
const STREAM: &str = "KiB for each stream";
const RULE: &str = "policy: two people";

/// All metrics that are read from one run, in order.
pub const GOALS: [TableGoal; 27] = [
    goal(
        "P1",
        "registrations a second, 64 at a time",
        Rate("register"),
        &[(Serve, AtLeast(1500.0)), (Separate, AtLeast(800.0))],
    ),
    goal(
        "P2",
        "registration alone, p50 / p99 ms",
        Latency("register alone"),
        &[(Serve, Shown), (Separate, Shown)],
    ),
    goal(
        "P3",
        "connection to first map alone, p50 / p99 ms",
        Latency("connect alone"),
        &[(Serve, AtMost(&[4.0, 10.0])), (Separate, Shown)],
    ),
    goal(
        "P4",
        "all connect at once: last first map, s",
        Seconds("connect"),
        &[
            (Serve, AtMost(&[1.0])),
            (Separate, Shown),
            (Large, AtMost(&[8.0])),
            (Crowd, AtMost(&[20.0])),
        ],
    ),
    goal(
        "P4",
        "all connect at once: CPU each, ms",
        CpuPerOperation("connect"),
        &[
            (Serve, AtMost(&[1.0])),
            (Separate, Shown),
            (Large, Shown),
            (Crowd, Shown),
        ],
    ),
    goal(
        "P4",
        "all connect at once: GET /key meanwhile, longest ms",
        Longest("connect", KEY),
        &[
            (Serve, Shown),
            (Separate, Shown),
            (Large, Shown),
            (Memory, Shown),
            (Crowd, AtMost(&[200.0])),
        ],
    ),
    goal(
        "P4",
        "all connect at once: nodes without a map",
        Figure("connect", MISSING),
        &[(Crowd, AtMost(&[0.0]))],
    ),
    goal(
        "P4",
        "all connect at once: connections that failed",
        Figure("connect", FAILED),
        &[(Crowd, AtMost(&[0.0]))],
    ),
    goal(
        "P4",
        "all connect at once: from the last map until all is right, s",
        Figure("connect", RIGHT),
        &[(Large, Shown), (Crowd, AtMost(&[2.0]))],
    ),
    goal(
        "P5",
        "endpoint told to each peer, p50 / p99 ms",
        Latency("changes"),
        &[
            (Serve, AtMost(&[8.0, 15.0])),
            (Separate, AtMost(&[12.0, 22.0])),
        ],
    ),
    goal(
        "P6",
        "CPU for each change, ms",
        CpuPerOperation("changes"),
        &[(Serve, AtMost(&[13.0])), (Separate, Shown)],
    ),
    goal(
        "P7",
        "bytes to each peer for each change",
        BytesPerMessage("changes"),
        &[(Serve, Shown), (Separate, Shown)],
    ),
    goal(
        "P8",
        "one rule for two people: last peer, s",
        Seconds(RULE),
        &[(Serve, AtMost(&[0.05])), (Separate, Shown), (Large, Shown)],
    ),
    goal(
        "P8",
        "one rule for two people: CPU-s",
        CpuSeconds(RULE),
        &[(Serve, Shown), (Separate, Shown), (Large, AtMost(&[0.1]))],
    ),
    goal(
        "P9",
        "key ended: last peer told, p50 / p99 ms",
        Latency("expire"),
        &[(Serve, AtMost(&[15.0])), (Separate, Shown)],
    ),
    goal(
        "P10",
        "memory for each idle stream inside TLS, KiB",
        Figure("idle", STREAM),
        &[(Memory, AtMost(&[32.0]))],
    ),
    goal(
        "P10",
        "memory of the gateways for each idle stream, KiB",
        Figure("idle", STREAM),
        &[(Serve, Shown), (Separate, Shown)],
    ),
    goal(
        "P12",
        "killed and started: all back, s",
        Seconds("crash"),
        &[
            (Serve, AtMost(&[1.5])),
            (Separate, Shown),
            (Large, AtMost(&[8.0])),
        ],
    ),
    goal(
        "P12",
        "killed and started: CPU-s",
        CpuSeconds("crash"),
        &[(Serve, Shown), (Separate, Shown), (Large, Shown)],
    ),
    goal(
        "P12",
        "killed and started: bytes over those of all maps",
        Figure("crash", BYTES),
        &[(Serve, Shown), (Separate, Shown), (Large, Shown)],
    ),
    goal(
        "P12",
        "killed and started: GET /key meanwhile, longest ms",
        Longest("crash", KEY),
        &[(Serve, Shown), (Separate, Shown), (Large, AtMost(&[200.0]))],
    ),
    goal(
        "P12",
        "killed and started: from the last map until all is right, s",
        Figure("crash", RIGHT),
        &[(Serve, Shown), (Separate, Shown), (Large, Shown)],
    ),
    goal(
        "P13",
        "cores while nothing happens",
        Figure("idle", CORES),
        &[
            (Serve, Shown),
            (Separate, Shown),
            (Large, Shown),
            (Crowd, Shown),
        ],
    ),
    goal(
        "P18",
        "peers at the other gateway wait longer, p50 ms",
        Figure("changes", BETWEEN),
        &[(Separate, Shown)],
    ),
    goal(
        "storm",
        "all report at once: until the last is told, s",
        Seconds("reports"),
        &[(Serve, Shown), (Separate, Shown), (Large, AtMost(&[4.0]))],
    ),
    goal(
        "storm",
        "all report at once: CPU-s",
        CpuSeconds("reports"),
        &[(Serve, Shown), (Separate, Shown), (Large, AtMost(&[6.0]))],
    ),
    goal(
        "churn",
        "all connections cut, all back, s",
        Seconds("reconnect"),
        &[(Serve, Shown), (Separate, Shown)],
    ),
];

/// The exponent that the CPU time of a change grows with, where as many are told of it in larger tailnets.
pub const FIXED_PEERS_EXPONENT: f64 = 0.03;

impl TableRun {
    /// Returns the same run where people reach their own nodes alone.
    pub fn scoped(self) -> Option<Self> {
        match self {
            Self::Serve => Some(Self::ServeScoped),
            Self::Separate => Some(Self::SeparateScoped),
            _ => None,
        }
    }
}
