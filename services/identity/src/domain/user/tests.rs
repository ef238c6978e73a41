use super::*;

fn user(id: u64, role: Role) -> User {
    let login_name = format!("u{id}@example.com");
    User {
        id,
        login_name,
        role: role.into(),
        ..User::default()
    }
}

#[test]
fn login_names_are_e_mail_like() {
    let named = |name: &str| {
        check_user(&User {
            login_name: name.to_owned(),
            ..user(1, Role::Member)
        })
    };
    for name in ["amira@example.com", "amira@"] {
        assert!(named(name).is_ok(), "{name}");
    }
    for name in [
        "amira",
        "@example.com",
        "a b@example.com",
        "a@b@c",
        "a\"@b",
        "a\n@b",
    ] {
        assert!(named(name).is_err(), "{name}");
    }
}

#[test]
fn last_owner_stays() {
    let users = [user(1, Role::Owner), user(2, Role::Member)];
    assert!(loses_last_owner(&users, 1, None));
    assert!(loses_last_owner(&users, 1, Some(&user(1, Role::Admin))));
    assert!(!loses_last_owner(&users, 2, None));
    assert!(!loses_last_owner(
        &[user(1, Role::Owner), user(2, Role::Owner)],
        1,
        None
    ));
}
