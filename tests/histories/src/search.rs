//! The search for a history that fails.

use bowline_test_servers::TestDatabase;
use tokio::time::Instant;

use crate::{
    batch::run_batch,
    counts::AnswerCounts,
    history::BatchPlan,
    planted::PlantedBug,
    services::TestReplicas,
    shrink::{FailingHistory, shrink},
};

/// Repeats one batch, or one history of it.
const REPEATED: &str = "TEST_HISTORY";

/// Which database histories run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    /// SQLite.
    Sqlite,
    /// PostgreSQL; nothing is searched where it is not installed.
    Postgres,
}

impl DatabaseKind {
    fn new_database(self) -> Option<TestDatabase> {
        match self {
            Self::Sqlite => Some(TestDatabase::sqlite().unwrap()),
            Self::Postgres => TestDatabase::postgres().unwrap(),
        }
    }
}

/// What a search came to.
#[derive(Clone, Debug, Default)]
pub struct SearchOutcome {
    /// A history that fails.
    pub found: Option<FailingHistory>,
    /// How many histories were run.
    pub histories: usize,
    /// What was answered how often.
    pub counts: AnswerCounts,
}

/// What is searched.
#[derive(Clone, Copy, Debug)]
pub struct HistorySearch {
    /// Where.
    pub database: DatabaseKind,
    /// How many histories.
    pub histories: usize,
    /// How many of them share a database.
    pub batch: usize,
    /// How many rounds each has.
    pub rounds: usize,
    /// The bug that is planted.
    pub bug: Option<PlantedBug>,
    /// Whether a history that fails is made as short as it gets.
    pub is_shortened: bool,
}

impl HistorySearch {
    /// Searches for a history that fails.
    pub async fn find_failure(self) -> SearchOutcome {
        let (first_seed, only) = read_repeated();
        let (began, mut done) = (Instant::now(), 0);
        let mut searched = SearchOutcome::default();
        for batch in 0_u64.. {
            if done >= self.histories {
                break;
            }
            let plan = BatchPlan::draw(first_seed.wrapping_add(batch), self.rounds);
            let count = self.batch.min(self.histories - done);
            let indexes: Vec<_> = match only {
                Some(index) => vec![index],
                None => (0..count as u64).collect(),
            };
            let Some(database) = self.database.new_database() else {
                return searched;
            };
            let services = TestReplicas::start(database).await;
            let histories = indexes.iter().map(|index| plan.draw_history(*index));
            let histories: Vec<_> = histories.collect();
            let outcome = run_batch(&services, &plan, "t", histories.clone(), self.bug).await;
            drop(services);
            searched.counts.extend(&outcome.counts);
            searched.histories += indexes.len();
            let mut failed = outcome.failures.into_iter().zip(histories).zip(&indexes);
            let first =
                failed.find_map(|((failure, history), index)| Some((failure?, history, index)));
            if let Some((failure, history, index)) = first {
                println!("{REPEATED}={}:{index} fails: {}", plan.seed, failure.text);
                let found = FailingHistory {
                    plan,
                    history,
                    failure,
                };
                searched.found = Some(match self.is_shortened {
                    true => self.shorten(found).await,
                    false => found,
                });
                return searched;
            }
            done += count;
            let seconds = began.elapsed().as_secs_f32();
            println!(
                "{:?}: {done} histories, {} calls, {seconds:.1} s ({REPEATED}={})",
                self.database,
                searched.counts.total(),
                plan.seed
            );
            if only.is_some() {
                break;
            }
        }
        searched
    }

    async fn shorten(self, found: FailingHistory) -> FailingHistory {
        let Some(database) = self.database.new_database() else {
            return found;
        };
        let services = TestReplicas::start(database).await;
        shrink(&services, found, self.bug).await
    }
}

/// Returns the seed to begin with, and the only history to run if there is just one.
fn read_repeated() -> (u64, Option<u64>) {
    #[expect(clippy::disallowed_methods, reason = "a test is told what to repeat")]
    let Ok(repeated) = std::env::var(REPEATED) else {
        return (
            u64::from_be_bytes(bowline_clock::random_bytes()) >> 16,
            None,
        );
    };
    let (seed, index) = match repeated.split_once(':') {
        Some((seed, index)) => (seed, Some(index)),
        None => (&*repeated, None),
    };
    let number = |text: &str| text.parse().expect("TEST_HISTORY=SEED or SEED:INDEX");
    (number(seed), index.map(number))
}
