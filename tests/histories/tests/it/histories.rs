//! Whatever happens to machines, nodes and keys, in whatever order and with whatever going wrong: answers and state are as
//! the model says, and a gateway tells nothing else.

use bowline_histories::{DatabaseKind, HistorySearch};
use bowline_test_servers::choose_size;

/// What happens in enough histories.
const HAPPENS: [&str; 20] = [
    "Register: Registered",
    "Register: KeyExpired",
    "Register: LoginNeeded",
    "Register: Refused(NodeKeyOfAnotherMachine)",
    "Register: Refused(PreAuthKeyExpired)",
    "Register: Refused(PreAuthKeyUsed)",
    "Register: Refused(PreAuthKeyRevoked)",
    "Register: Refused(UserSuspended)",
    "Register: Lost",
    "LogOut: LoggedOut",
    "EndNodesOfKey: Ended",
    "ApproveLogin: Done",
    "Approve: Done",
    "Sign: Done",
    "Disable: Done",
    "Enable: Done",
    "Expire: Done",
    "Delete: Done",
    "SetTag: Done",
    "Connect: Done",
];

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_as_the_model_says() {
    check_histories(DatabaseKind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_as_the_model_says() {
    check_histories(DatabaseKind::Postgres).await;
}

async fn check_histories(database: DatabaseKind) {
    let histories = choose_size(80, 5_000);
    let search = HistorySearch {
        database,
        histories,
        batch: 250,
        rounds: choose_size(20, 30),
        bug: None,
        is_shortened: true,
    };
    let searched = search.find_failure().await;
    if let Some(found) = searched.found {
        panic!("{}", found.describe());
    }
    let (counts, is_repeated) = (searched.counts, histories > searched.histories);
    println!("{counts}");
    for what in HAPPENS.iter().filter(|_| !is_repeated) {
        assert!(counts.count(what) > 0, "in no history: {what}");
    }
}
