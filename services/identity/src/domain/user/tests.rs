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
fn owner_is_one_and_stays() {
    let (owner, member) = (user(1, Role::Owner), user(2, Role::Member));
    let users = [owner.clone(), member.clone()];
    let suspended = |user: &User| User {
        suspended: true,
        ..user.clone()
    };
    let check = |before: &User, after: Option<&User>| check_owner(&users, before, after).is_ok();
    assert!(!check(&owner, None));
    assert!(!check(&owner, Some(&user(1, Role::Admin))));
    assert!(!check(&owner, Some(&suspended(&owner))));
    assert!(!check(&member, Some(&user(2, Role::Owner))), "a second one");
    assert!(check(&member, None));
    assert!(check(&member, Some(&suspended(&member))));
    assert!(check(&member, Some(&user(2, Role::Admin))));
    assert!(check(&suspended(&owner), Some(&owner)), "restored");

    // Several of an older release: all but the last can be given another role, and nobody ends one of them before.
    let several = [owner.clone(), user(2, Role::Owner)];
    assert!(check_owner(&several, &owner, Some(&user(1, Role::Admin))).is_ok());
    assert!(check_owner(&several, &owner, Some(&owner)).is_ok());
    assert!(check_owner(&several, &owner, None).is_err());
    assert!(check_owner(&several, &owner, Some(&suspended(&owner))).is_err());
    // The first owner of a tailnet that has none.
    let none = [member.clone()];
    assert!(check_owner(&none, &member, Some(&user(2, Role::Owner))).is_ok());
    let waiting = suspended(&user(2, Role::Owner));
    assert!(check_owner(&none, &member, Some(&waiting)).is_err());
    // Who is alone can go.
    assert!(check_owner(&users[..1], &owner, None).is_ok());
}
