use super::*;

#[test]
fn sqlite_constraints_have_the_names_of_postgres() {
    let unique = "UNIQUE constraint failed: nodes.tailnet_id, nodes.name";
    assert_eq!(
        sqlite_constraint(unique, Some("2067")),
        "nodes_tailnet_id_name_key"
    );
    assert_eq!(
        sqlite_constraint("UNIQUE constraint failed: nodes.id", Some("1555")),
        "nodes_pkey"
    );
    let expression = "UNIQUE constraint failed: index 'nodes_name_key'";
    assert_eq!(
        sqlite_constraint(expression, Some("2067")),
        "nodes_name_key"
    );
}
