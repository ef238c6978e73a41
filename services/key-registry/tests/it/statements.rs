//! How often a registration asks the databases of all owners.
//!
//! What a process asks its databases is counted for all tests that run in it, so these run in a process of their own.

use std::{
    collections::BTreeMap,
    fmt, future,
    process::Command,
    sync::{Mutex, Once, PoisonError},
};

use bowline_proto::key_registry::v1::RegisterRequest;
use bowline_test_support::{TestDatabase, TestServices, on_both};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::request::with_key;

on_both!(future::ready::<TestDatabase> =>
    registration_asks_a_few_times_however_many_nodes_there_are,
    address_that_a_policy_wants_costs_no_more_however_many_nodes_there_are,
);

/// Says that this process runs these tests alone.
const ALONE: &str = "TEST_STATEMENTS_ALONE";
/// How often one registration with a pre-auth key of a user asks, beside the begin and the end of its transaction. One that waits
/// with others shares more than half of it with them.
const MOST_STATEMENTS: u64 = 12;
/// How many registrations are counted: more than anything else runs meanwhile.
const REGISTRATIONS: u32 = 20;

/// The statements so far.
static COUNTS: Mutex<BTreeMap<String, StatementCount>> = Mutex::new(BTreeMap::new());

/// How often a statement ran, and how many rows it returned in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct StatementCount {
    often: u64,
    rows: u64,
}

/// What one registration costs: each statement, and how often it runs for how many rows.
#[derive(Debug, PartialEq, Eq)]
struct RegistrationCost(BTreeMap<String, StatementCount>);

impl RegistrationCost {
    fn count_statements(&self) -> u64 {
        self.0.values().map(|count| count.often).sum()
    }
}

impl fmt::Display for RegistrationCost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (text, StatementCount { often, rows }) in &self.0 {
            writeln!(formatter, "{often} x, {rows} rows: {text}")?;
        }
        Ok(())
    }
}

/// Counts the statements that the database driver logs.
struct StatementCounter;

impl Subscriber for StatementCounter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut statement = RunStatement::default();
        event.record(&mut statement);
        let mut counts = lock_counts();
        let count = counts.entry(statement.text).or_default();
        count.often += 1;
        count.rows += statement.rows;
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// A statement that ran. A short one is its own summary.
#[derive(Default)]
struct RunStatement {
    text: String,
    rows: u64,
}

impl Visit for RunStatement {
    fn record_str(&mut self, field: &Field, value: &str) {
        let is_text = field.name() == "db.statement" && !value.is_empty();
        if is_text || field.name() == "summary" && self.text.is_empty() {
            self.text = value.split_whitespace().collect::<Vec<_>>().join(" ");
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "rows_returned" {
            self.rows = value;
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

fn lock_counts() -> std::sync::MutexGuard<'static, BTreeMap<String, StatementCount>> {
    COUNTS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is set for the process that the test starts"
)]
fn is_alone() -> bool {
    std::env::var_os(ALONE).is_some()
}

#[test]
fn these_tests_pass_in_a_process_of_their_own() {
    if is_alone() {
        return;
    }
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    command.args(["--test-threads=1", "--nocapture", "statements::"]);
    let output = command.env(ALONE, "1").output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{}", said.concat());
    assert!(said[0].contains("5 passed"), "{}", said[0]);
}

fn count_from_now_on() {
    static COUNTER: Once = Once::new();
    COUNTER.call_once(|| tracing::subscriber::set_global_default(StatementCounter).unwrap());
}

async fn registration_asks_a_few_times_however_many_nodes_there_are(database: TestDatabase) {
    if !is_alone() {
        return;
    }
    count_from_now_on();
    let services = TestServices::start(database).await;
    let mut next = 1;
    let key = services.new_user_key(true).await;
    let few = measure_cost(&services, &key, &mut next).await;
    let count = few.count_statements();
    assert!((1..=MOST_STATEMENTS).contains(&count), "{count}:\n{few}");
    services
        .set_policy(r#"{ "tagOwners": { "tag:web": [] } }"#)
        .await;
    for _ in 0..5 {
        let key = services.new_tag_key("tag:web").await;
        register_some(&services, &key, &mut next).await;
    }
    let key = services.new_user_key(true).await;
    let many = measure_cost(&services, &key, &mut next).await;
    assert_eq!(few, many, "however many nodes there are:\n{few}\n{many}");
}

async fn address_that_a_policy_wants_costs_no_more_however_many_nodes_there_are(
    database: TestDatabase,
) {
    if !is_alone() {
        return;
    }
    count_from_now_on();
    let services = TestServices::start(database).await;
    let policy = r#"{
        "tagOwners": { "tag:web": [] },
        "nodeAttrs": [{ "target": ["tag:web"], "ipPool": ["100.81.0.0/16"] }] }"#;
    services.set_policy(policy).await;
    let mut next = 1;
    let key = services.new_tag_key("tag:web").await;
    let few = measure_cost(&services, &key, &mut next).await;
    for _ in 0..5 {
        let key = services.new_tag_key("tag:web").await;
        register_some(&services, &key, &mut next).await;
    }
    let key = services.new_tag_key("tag:web").await;
    let many = measure_cost(&services, &key, &mut next).await;
    assert_eq!(few, many, "however many nodes there are:\n{few}\n{many}");
}

/// Registers nodes of a key, and returns what that costs for each.
async fn measure_cost(services: &TestServices, key: &str, next: &mut u32) -> RegistrationCost {
    // What is remembered from one registration to the next is read at the first.
    register_node(services, key, next).await;
    lock_counts().clear();
    register_some(services, key, next).await;
    let counts = lock_counts();
    let of_one = |sum: u64| sum / u64::from(REGISTRATIONS);
    let each = counts.iter().map(|(text, count)| {
        let (often, rows) = (of_one(count.often), of_one(count.rows));
        (text.clone(), StatementCount { often, rows })
    });
    let own = each.filter(|(text, count)| count.often > 0 && !is_of_followers(text));
    RegistrationCost(own.collect())
}

/// Says whether a statement reads what is new in a log: whoever follows it asks that beside the registrations.
fn is_of_followers(text: &str) -> bool {
    [
        "LEFT JOIN change_log",
        "soft_revision FROM heads",
        "FROM soft_states",
    ]
    .iter()
    .any(|part| text.contains(part))
}

async fn register_some(services: &TestServices, key: &str, next: &mut u32) {
    for _ in 0..REGISTRATIONS {
        register_node(services, key, next).await;
    }
}

/// Registers one more node, of a machine that nobody knows, with a name that others have.
async fn register_node(services: &TestServices, key: &str, next: &mut u32) {
    let bytes = |kind: u32| (kind << 16 | *next).to_be_bytes().repeat(8);
    let request = RegisterRequest {
        machine_key: bytes(1),
        node_key: bytes(2),
        ..with_key(1, 1, key)
    };
    *next += 1;
    services.register_node(request).await;
}
