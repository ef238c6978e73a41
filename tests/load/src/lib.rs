//! Simulated nodes in any number, an oracle of what each has to know, and the table of what it costs.
//!
//! ```text
//! options ─▶ target (a server that is started, or one that runs) ─▶ phases ─▶ table, JSON
//!                                                                    │
//! table, comparison: run after run of these, and the rows that are read from their reports
//!
//! fleet of nodes ── dial ── Noise or boxes ── register, map ◀────────┤  what happens
//!      └─ frame log: bytes and moments ─▶ view of each node ─▶ oracle ┘  what has to be so: roster + access plan
//! ```
//!
//! While something is measured, a frame is only kept, with the moment it came at. When the phase has come to rest, all are
//! opened, applied to the view of their node, and each view is compared with what the oracle computes from a list of nodes and a
//! few rules: so each node is checked in each phase, and checking takes nothing from the server meanwhile. What is sent at a
//! rate is sent at that rate however the server does, and latency counts from the moment that was intended.
//!
//! Traffic goes to loopback alone, each phase has a deadline, and servers that were started end with the run.

mod access_plan;
mod administration;
mod comparison;
mod dial;
mod fleet;
mod frame_log;
mod headscale_server;
mod liar;
mod link;
mod machine;
mod markdown;
mod node;
mod options;
mod oracle;
mod pace;
mod phases;
mod probe;
mod quiet_tailnet;
mod reading;
mod report;
mod roster;
mod run;
mod session;
mod table;
mod target;
mod trend;
mod usage;
mod view;

pub use comparison::{ComparisonOptions, ComparisonPage, RatioRow, compare};
pub use machine::MeasuredMachine;
pub use options::{DeploymentKind, Options, OutputForm, PhaseName, PlanKind};
pub use report::{PhaseReport, RunReport};
pub use run::run_load;
pub use table::{PageForm, TableLine, TableOptions, TablePage, make_table};
