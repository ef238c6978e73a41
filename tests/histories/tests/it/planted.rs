//! Bugs that are planted on purpose are found in a short history: on SQLite, and in full size on PostgreSQL, too.

use bowline_histories::{DatabaseKind, HistorySearch, PlantedBug};
use bowline_test_servers::choose_size;

/// The longest history that a person still reads at a glance. A search shortens a history in a bounded number of rounds.
const SHORT: usize = 6;
/// What hangs on a race does not get short: then another history that fails is looked for.
const MOST_SEARCHES: usize = 4;

/// In the short form bugs of three kinds are searched, on SQLite.
async fn check_found(bug: PlantedBug) {
    let is_full = choose_size(0, 1) == 1;
    let is_short = matches!(
        bug,
        PlantedBug::RetiredKeyIsBoundAgain
            | PlantedBug::OneOffKeyIsNotSpent
            | PlantedBug::UnsignedNodeIsShown
    );
    if is_full || is_short {
        check_found_in(DatabaseKind::Sqlite, bug).await;
    }
    if is_full {
        check_found_in(DatabaseKind::Postgres, bug).await;
    }
}

async fn check_found_in(database: DatabaseKind, bug: PlantedBug) {
    let search = HistorySearch {
        database,
        histories: 160,
        batch: 40,
        rounds: 15,
        bug: Some(bug),
        // That takes longer than the search; one is enough to see that it works.
        is_shortened: bug == PlantedBug::RetiredKeyIsBoundAgain || choose_size(0, 1) == 1,
    };
    for number in 1..=MOST_SEARCHES {
        let searched = search.find_failure().await;
        if searched.histories == 0 {
            return; // PostgreSQL is not installed.
        }
        let found = searched.found.expect("the bug is found");
        println!("{bug:?} is found:\n{}", found.describe());
        if !search.is_shortened || found.count_moments() <= SHORT {
            return;
        }
        assert!(number < MOST_SEARCHES, "{}", found.describe());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retired_key_that_is_bound_again() {
    check_found(PlantedBug::RetiredKeyIsBoundAgain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_off_key_that_is_not_spent() {
    check_found(PlantedBug::OneOffKeyIsNotSpent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disabled_node_that_is_shown() {
    check_found(PlantedBug::DisabledNodeIsShown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn address_that_is_given_twice() {
    check_found(PlantedBug::AddressIsGivenTwice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn end_of_a_key_that_is_ignored() {
    check_found(PlantedBug::EndOfKeyIsIgnored).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unsigned_node_that_is_shown() {
    check_found(PlantedBug::UnsignedNodeIsShown).await;
}
