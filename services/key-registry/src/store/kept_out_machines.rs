//! Machines that are kept out although their node is gone: it went with its user.

use bowline_db::DatabaseError;
use bowline_proto::key_registry::v1::Node;
use sqlx::AnyConnection;

/// Keeps a machine out of its tailnet.
pub async fn add_machine(on: &mut AnyConnection, node: &Node) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO kept_out_machines (tailnet_id, machine_key) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    )
    .bind(node.tailnet_id.cast_signed())
    .bind(node.machine_key.clone())
    .execute(on)
    .await?;
    Ok(())
}

/// Forgets a machine, which has a node again; says whether it was kept out.
pub async fn take_machine(
    on: &mut AnyConnection,
    tailnet_id: u64,
    machine_key: &[u8],
) -> Result<bool, DatabaseError> {
    let taken =
        sqlx::query("DELETE FROM kept_out_machines WHERE tailnet_id = $1 AND machine_key = $2")
            .bind(tailnet_id.cast_signed())
            .bind(machine_key.to_vec())
            .execute(on)
            .await?;
    Ok(taken.rows_affected() > 0)
}
