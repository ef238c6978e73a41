use super::*;
use crate::access::CredentialKind;

const ROLES: [Role; 7] = [
    Role::Owner,
    Role::Admin,
    Role::NetworkAdmin,
    Role::ItAdmin,
    Role::BillingAdmin,
    Role::Auditor,
    Role::Member,
];

fn user(role: Role) -> Principal {
    Principal {
        tailnet_id: 7,
        holder: TokenBearer::User {
            id: 3,
            login_name: "amira@example.com".to_owned(),
            role,
        },
        scopes: Scopes::everything(),
        credential: CredentialKind::ApiKey,
        credential_id: "0123456789ab".to_owned(),
    }
}

fn client(scopes: &[&str], tags: &[&str]) -> Principal {
    Principal {
        holder: TokenBearer::Client {
            tags: tags.iter().map(ToString::to_string).collect(),
        },
        scopes: Scopes::parse(scopes.iter().copied()).expect("scopes"),
        credential: CredentialKind::AccessToken,
        ..user(Role::Member)
    }
}

#[test]
fn nobody_changes_his_own_role_and_none_makes_a_higher_one() {
    let may = |by: &Principal, id, before, after| may_set_role(by, id, before, after).is_ok();
    for role in ROLES {
        assert!(
            !may(&user(role), 3, role, Role::Unspecified),
            "{role:?} of oneself"
        );
        assert!(may(&user(role), 3, role, role), "{role:?} stays");
    }
    for after in ROLES {
        let of_owner = may(&user(Role::Owner), 4, Role::Unspecified, after);
        let of_admin = may(&user(Role::Admin), 4, Role::Unspecified, after);
        let of_it_admin = may(&user(Role::ItAdmin), 4, Role::Unspecified, after);
        let of_program = may(&client(&["users"], &[]), 4, Role::Unspecified, after);
        let of_all = may(&client(&["all"], &[]), 4, Role::Unspecified, after);
        assert!(of_owner, "{after:?}");
        assert_eq!(of_admin, after != Role::Owner, "{after:?}");
        let is_chief = matches!(after, Role::Owner | Role::Admin);
        assert_eq!(
            (of_it_admin, of_program),
            (!is_chief, !is_chief),
            "{after:?}"
        );
        assert_eq!(of_all, after != Role::Owner, "{after:?}");
        // Who may not give a role may not take it either.
        assert_eq!(
            may(&user(Role::ItAdmin), 4, after, Role::Member),
            !is_chief || after == Role::Member
        );
    }
}

#[test]
fn users_are_ended_by_others_of_rank() {
    assert!(
        may_end_user(&user(Role::Owner), 3, Role::Owner).is_err(),
        "oneself"
    );
    assert!(may_end_user(&user(Role::Owner), 4, Role::Owner).is_ok());
    assert!(may_end_user(&user(Role::Admin), 4, Role::Owner).is_err());
    assert!(may_end_user(&user(Role::ItAdmin), 4, Role::Admin).is_err());
    assert!(may_end_user(&user(Role::ItAdmin), 4, Role::NetworkAdmin).is_ok());
    assert!(may_link_user(&user(Role::Admin), Role::Owner).is_err());
}

#[test]
fn no_credential_does_more_than_who_made_it() {
    let scopes = |text: &str| Scopes::parse(text.split(' ')).expect("scopes");
    let may = |role, text| may_make_client(&user(role), &scopes(text), &[]).is_ok();
    for role in ROLES {
        let is_chief = matches!(role, Role::Owner | Role::Admin);
        assert_eq!(may(role, "all"), is_chief, "{role:?}");
        let keeps_network = is_chief || role == Role::NetworkAdmin;
        assert_eq!(may(role, "policy_file"), keeps_network, "{role:?}");
        assert_eq!(may(role, "devices:routes dns"), keeps_network, "{role:?}");
        let keeps_people = is_chief || role == Role::ItAdmin;
        assert_eq!(may(role, "users"), keeps_people, "{role:?}");
    }
    let narrow = Principal {
        scopes: scopes("oauth_keys dns"),
        ..user(Role::Owner)
    };
    assert!(may_make_client(&narrow, &scopes("dns"), &[]).is_ok());
    assert!(may_make_client(&narrow, &scopes("dns users"), &[]).is_err());
    assert!(may_make_api_key(&narrow, 3, &scopes("dns:read")).is_ok());
    assert!(may_make_api_key(&narrow, 3, &scopes("all")).is_err());
    assert!(
        may_make_api_key(&user(Role::Owner), 4, &scopes("all")).is_err(),
        "of another"
    );
}

#[test]
fn programs_give_their_own_tags() {
    let by = client(&["auth_keys"], &["tag:ci"]);
    let tags = |text: &str| vec![text.to_owned()];
    assert!(may_make_pre_auth_key(&by, 0, &tags("tag:ci")).is_ok());
    assert!(may_make_pre_auth_key(&by, 0, &tags("tag:prod")).is_err());
    assert!(
        may_make_pre_auth_key(&by, 3, &tags("tag:ci")).is_err(),
        "of a user"
    );
    let refused = may_set_tags(&by, &tags("tag:prod")).unwrap_err();
    let says = "it has tag:ci: take a client that has this tag";
    assert!(refused.to_string().contains(says), "{refused}");
    assert!(may_make_pre_auth_key(&user(Role::Admin), 3, &[]).is_ok());
    assert!(
        may_make_pre_auth_key(&user(Role::Admin), 4, &[]).is_err(),
        "of another user"
    );
    let tagged = may_make_client(&user(Role::ItAdmin), &Scopes::default(), &tags("tag:prod"));
    assert!(tagged.is_err());
}

#[test]
fn each_setting_has_its_own_scope_and_roles() {
    let may = |role, field| may_change_settings(&user(role), [field]).is_ok();
    for (field, role) in [
        ("dns", Role::NetworkAdmin),
        ("ipv4_pool", Role::NetworkAdmin),
        ("key_lifetime", Role::ItAdmin),
        ("machine_approval", Role::ItAdmin),
        ("what_comes_later", Role::ItAdmin),
    ] {
        for one in ROLES {
            let is_enough = one == role || matches!(one, Role::Owner | Role::Admin);
            assert_eq!(may(one, field), is_enough, "{one:?} {field}");
        }
    }
    let dns = client(&["dns"], &[]);
    assert!(may_change_settings(&dns, ["dns"]).is_ok());
    assert!(may_change_settings(&dns, ["dns", "key_lifetime"]).is_err());
}
