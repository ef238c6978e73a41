use super::*;

#[test]
fn statements_are_joined_as_each_database_takes_them_and_values_are_numbered_on() {
    let text = |dialect| {
        let mut group = StatementGroup::default();
        group.add("UPDATE a SET x = $2 WHERE y = $1");
        group.bind(1_i64).bind(2_i64);
        group.add("DELETE FROM b WHERE z = $1").bind(3_i64);
        group.add("INSERT INTO c VALUES ($1, $2)");
        group.bind(4_i64).bind(5_i64);
        join_texts(dialect, group.texts)
    };
    assert_eq!(
        text(SqlDialect::Sqlite).as_deref(),
        Some(
            "UPDATE a SET x = $2 WHERE y = $1; DELETE FROM b WHERE z = $3; INSERT INTO c VALUES ($4, $5)"
        )
    );
    assert_eq!(
        text(SqlDialect::Postgres).as_deref(),
        Some(
            "WITH part_0 AS (UPDATE a SET x = $2 WHERE y = $1), part_1 AS (DELETE FROM b WHERE z = $3) \
             INSERT INTO c VALUES ($4, $5)"
        )
    );
}

#[test]
fn one_statement_is_sent_as_it_is_and_none_is_not_sent() {
    for dialect in [SqlDialect::Sqlite, SqlDialect::Postgres] {
        let one = vec!["DELETE FROM a".to_owned()];
        assert_eq!(join_texts(dialect, one).as_deref(), Some("DELETE FROM a"));
        assert_eq!(join_texts(dialect, Vec::new()), None);
    }
}
