//! The runs of the table, each with what `bowline-load` is called with.

use super::goals::TableRun;

/// All runs, in the order in which they are done.
const WHOLE: [(TableRun, &str); 10] = [
    (
        TableRun::Serve,
        "--deployment=serve --policy=allow --nodes=1000 --seconds=20 --rate=2",
    ),
    (
        TableRun::ServeScoped,
        "--deployment=serve --policy=scoped --nodes=1000 --seconds=20 --rate=2",
    ),
    (
        TableRun::Separate,
        "--deployment=separate --policy=allow --nodes=1000 --seconds=20 --rate=2",
    ),
    (
        TableRun::SeparateScoped,
        "--deployment=separate --policy=scoped --nodes=1000 --seconds=20 --rate=2",
    ),
    (
        TableRun::Large,
        "--policy=allow --nodes=3000 --phases=reports,idle,changes,policy,crash",
    ),
    (
        TableRun::Memory,
        "--policy=scoped --tls --nodes=6000 --phases=idle",
    ),
    // Fifty nodes for each person: a hundred are told of a change.
    (
        TableRun::GrowthSmall,
        "--policy=scoped --nodes=1000 --people=20 --phases=idle,changes --rate=5",
    ),
    (
        TableRun::GrowthMiddle,
        "--policy=scoped --nodes=3000 --people=60 --phases=idle,changes --rate=5",
    ),
    (
        TableRun::GrowthLarge,
        "--policy=scoped --nodes=10000 --people=200 --phases=idle,changes --rate=5",
    ),
    (
        TableRun::Crowd,
        "--policy=scoped --nodes=15000 --phases=idle",
    ),
];

/// The same in small, where nothing is left out that there is once.
const QUICK: [(TableRun, &str); 8] = [
    (
        TableRun::Serve,
        "--nodes=20 --phases=alone,reports,idle,changes,policy,expire,reconnect,crash --seconds=1 --rate=10",
    ),
    (
        TableRun::ServeScoped,
        "--policy=scoped --nodes=20 --phases=idle,changes --seconds=1 --rate=10",
    ),
    (
        TableRun::Separate,
        "--deployment=separate --nodes=20 --phases=alone,reports,idle,changes,policy,expire,reconnect,crash --seconds=1 --rate=10",
    ),
    (
        TableRun::Large,
        "--nodes=40 --phases=reports,idle,changes,policy,crash --seconds=1 --rate=10",
    ),
    (
        TableRun::Memory,
        "--policy=scoped --tls --nodes=20 --phases=idle --seconds=1",
    ),
    (
        TableRun::GrowthSmall,
        "--policy=scoped --nodes=20 --people=10 --phases=idle,changes --seconds=1 --rate=10",
    ),
    (
        TableRun::GrowthLarge,
        "--policy=scoped --nodes=60 --people=30 --phases=idle,changes --seconds=1 --rate=10",
    ),
    (
        TableRun::Crowd,
        "--policy=scoped --nodes=60 --phases=idle --seconds=1",
    ),
];

/// Returns all runs, or those in small.
pub fn planned_runs(is_quick: bool) -> &'static [(TableRun, &'static str)] {
    if is_quick { &QUICK } else { &WHOLE }
}
