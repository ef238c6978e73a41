use super::*;

#[test]
fn page_has_the_keys_of_the_device_or_is_not_shown() {
    let login = Login {
        machine_key: vec![7; 32],
        node_key: vec![8; 32],
        ..Login::default()
    };
    let body = login_page_body(&login).expect("a page");
    assert!(body.contains("mkey:0707") && body.contains("nodekey:0808"));
    let without_node_key = Login {
        node_key: Vec::new(),
        ..login.clone()
    };
    let cut_machine_key = Login {
        machine_key: vec![7; 31],
        ..login
    };
    for login in [without_node_key, cut_machine_key] {
        assert_eq!(login_page_body(&login), None);
    }
}
