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
);

/// Says that this process runs these tests alone.
const ALONE: &str = "TEST_STATEMENTS_ALONE";
/// How often one registration with a pre-auth key of a user asks, beside the begin and the end of its transaction. One that waits
/// with others shares more than half of it with them.
const MOST_STATEMENTS: usize = 12;
/// On PostgreSQL the time is asked for.
const MOST_ON_POSTGRES: usize = MOST_STATEMENTS + 1;
/// How many registrations are counted: more than anything else runs meanwhile.
const REGISTRATIONS: u32 = 20;

/// The statements so far, and how often each ran.
static COUNTS: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

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
        let mut text = StatementText::default();
        event.record(&mut text);
        *lock_counts().entry(text.0).or_default() += 1;
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The text of a statement: a short one is its own summary.
#[derive(Default)]
struct StatementText(String);

impl Visit for StatementText {
    fn record_str(&mut self, field: &Field, value: &str) {
        let is_text = field.name() == "db.statement" && !value.is_empty();
        if is_text || field.name() == "summary" && self.0.is_empty() {
            self.0 = value.split_whitespace().collect::<Vec<_>>().join(" ");
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

fn lock_counts() -> std::sync::MutexGuard<'static, BTreeMap<String, usize>> {
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
    assert!(said[0].contains("3 passed"), "{}", said[0]);
}

async fn registration_asks_a_few_times_however_many_nodes_there_are(database: TestDatabase) {
    if !is_alone() {
        return;
    }
    static COUNTER: Once = Once::new();
    COUNTER.call_once(|| tracing::subscriber::set_global_default(StatementCounter).unwrap());
    let most = match database.url("registry").starts_with("sqlite:") {
        true => MOST_STATEMENTS,
        false => MOST_ON_POSTGRES,
    };
    let services = TestServices::start(database).await;
    let mut next = 1;
    let few = count_statements(&services, &mut next).await;
    let texts = |counted: &[(String, usize)]| {
        let lines = counted
            .iter()
            .map(|(text, often)| format!("{often} x {text}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let sum = few.iter().map(|(_, often)| often).sum::<usize>();
    assert!((1..=most).contains(&sum), "{sum}:\n{}", texts(&few));
    services
        .set_policy(r#"{ "tagOwners": { "tag:web": [] } }"#)
        .await;
    for _ in 0..5 {
        let key = services.new_tag_key("tag:web").await;
        register_some(&services, &key, &mut next).await;
    }
    let many = count_statements(&services, &mut next).await;
    assert_eq!(texts(&few), texts(&many), "however many nodes there are");
}

/// Registers nodes of a new key, and returns which statements that takes for each, and how often.
async fn count_statements(services: &TestServices, next: &mut u32) -> Vec<(String, usize)> {
    let key = services.new_user_key(true).await;
    // What is remembered from one registration to the next is read at the first.
    register_node(services, &key, next).await;
    lock_counts().clear();
    register_some(services, &key, next).await;
    let counts = lock_counts();
    let each = counts.iter().map(|(text, count)| {
        let often = count / usize::try_from(REGISTRATIONS).unwrap();
        (text.clone(), often)
    });
    each.filter(|(text, often)| *often > 0 && !is_of_followers(text))
        .collect()
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
