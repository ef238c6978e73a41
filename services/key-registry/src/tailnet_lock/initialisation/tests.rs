use super::*;

#[test]
fn network_with_too_many_devices_is_told_what_to_do() {
    assert!(check_count(MOST_NODES).is_ok());
    let refused = check_count(MOST_NODES + 1).unwrap_err().to_string();
    assert!(refused.contains("has 3001 devices"), "{refused}");
    assert!(
        refused.contains("Delete those that nobody uses"),
        "{refused}"
    );
}
