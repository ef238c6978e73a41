//! The policy compiler over gRPC beside the real identity and key-registry services, on both databases.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where something is not as expected"
)]

mod answers;
mod served;
mod versions;

/// Runs one case on both databases.
macro_rules! on_both {
    ($($module:ident::$name:ident),* $(,)?) => {
        mod sqlite { $(#[tokio::test] async fn $name() { super::$module::$name(crate::served::Served::on_sqlite().await).await; })* }
        mod postgres { $(#[tokio::test] async fn $name() {
            let Some(served) = crate::served::Served::on_postgres().await else { return };
            super::$module::$name(served).await;
        })* }
    };
}

on_both!(
    versions::lost_race_is_refused_and_nothing_is_overwritten,
    versions::refused_document_leaves_the_last_good_one_in_force,
    versions::failing_tests_refuse_the_save_and_say_which,
    answers::preview_says_who_gains_and_loses_and_changes_nothing,
    answers::explanation_names_the_line,
    answers::routes_tags_and_addresses_are_as_the_policy_says,
    answers::judgement_names_the_tags_that_are_not_defined,
    answers::watchers_hear_everything_first_and_then_what_differs,
    versions::warnings_come_with_what_is_stored_and_refuse_where_they_are_to,
    versions::groups_of_users_may_be_named_and_those_of_nobody_may_not,
    versions::what_an_older_release_stored_stays_in_force,
    versions::each_version_is_audited_and_nothing_else,
    versions::texts_that_are_not_utf8_are_refused,
    versions::hostile_documents_are_refused_by_name,
);
