//! One test, two databases.

/// Makes tests that run on SQLite and on PostgreSQL, each on a database of its own.
///
/// Before the arrow stands what makes of a [`TestDatabase`](crate::TestDatabase) what the tests get, after it the tests:
///
/// ```text
/// use bowline_test_servers::{TestDatabase, on_both};
///
/// on_both!(open => what_is_stored_is_found);
///
/// async fn open(database: TestDatabase) -> String {
///     database.url("identity")
/// }
///
/// async fn what_is_stored_is_found(url: String) {
///     assert!(url.starts_with("sqlite:") || url.starts_with("postgres:"));
/// }
/// ```
///
/// They are called `sqlite::what_is_stored_is_found` and `postgres::what_is_stored_is_found`.
#[macro_export]
macro_rules! on_both {
    ($open:path => $($test:ident),* $(,)?) => {
        mod sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let database = $crate::TestDatabase::sqlite().expect("a directory for SQLite");
                super::$test($open(database).await).await;
            })*
        }
        mod postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                if let Some(database) = $crate::TestDatabase::postgres().expect("a PostgreSQL database") {
                    super::$test($open(database).await).await;
                }
            })*
        }
    };
}
