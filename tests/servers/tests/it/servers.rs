//! The servers start, restart and end.

use bowline_test_servers::{PostgresServer, RedisServer};

#[test]
fn postgres_keeps_its_data_through_a_kill() -> anyhow::Result<()> {
    let Some(mut server) = PostgresServer::start()? else {
        return Ok(());
    };
    assert!(server.new_database()?.starts_with("postgres://"));
    server.sql("CREATE TABLE t (x BIGINT); INSERT INTO t VALUES (1)")?;
    server.kill9();
    assert!(server.sql("SELECT 1").is_err());
    server.restart()?;
    server.sql("INSERT INTO t SELECT x / x FROM t")?;
    server.restart()?;
    server.sql("SELECT 1 / (SELECT COUNT(*) - 1 FROM t)")
}

#[test]
fn redis_restarts_on_its_port() -> anyhow::Result<()> {
    let Some(mut server) = RedisServer::start()? else {
        return Ok(());
    };
    let url = server.url();
    server.kill9();
    server.restart()?;
    assert_eq!(server.url(), url);
    Ok(())
}
