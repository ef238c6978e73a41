use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap_or_default()
}

#[test]
fn check_holds_for_its_period_and_never_for_always() {
    assert!(is_checked(Some(at(0)), 3600, at(3599)));
    assert!(!is_checked(Some(at(0)), 3600, at(3600)));
    assert!(!is_checked(Some(at(0)), 0, at(0)));
    assert!(!is_checked(None, 3600, at(0)));
    let week = LONGEST_PERIOD.num_seconds();
    assert!(!is_checked(Some(at(0)), u64::MAX, at(week)));
}

#[test]
fn connections_to_one_account_wait_for_one_login() {
    let ssh = SshConnection {
        source_node_id: 1,
        destination_node_id: 2,
        local_user: "root".to_owned(),
        ..SshConnection::default()
    };
    let named_anew = SshConnection {
        source_name: "laptop".to_owned(),
        ..ssh.clone()
    };
    assert_eq!(hash_target(&ssh), hash_target(&named_anew));
    let others = [
        SshConnection {
            source_node_id: 3,
            ..ssh.clone()
        },
        SshConnection {
            destination_node_id: 3,
            ..ssh.clone()
        },
        SshConnection {
            local_user: "amira".to_owned(),
            ..ssh.clone()
        },
    ];
    for other in others {
        assert_ne!(hash_target(&ssh), hash_target(&other));
    }
}

#[test]
fn only_the_owner_of_the_source_answers_for_it() {
    let ssh = SshConnection {
        tailnet_id: 1,
        user_id: 7,
        ..SshConnection::default()
    };
    let login = Login {
        ssh: Some(ssh),
        ..Login::default()
    };
    let user = |tailnet_id, id| User {
        tailnet_id,
        id,
        ..User::default()
    };
    assert_eq!(find_mismatch(&login, &user(1, 7)), None);
    assert!(find_mismatch(&login, &user(1, 8)).is_some());
    assert!(find_mismatch(&login, &user(2, 7)).is_some());
    assert_eq!(find_mismatch(&Login::default(), &user(2, 7)), None);
}
