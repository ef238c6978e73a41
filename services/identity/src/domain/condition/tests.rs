use super::*;
use bowline_proto::identity::v1::Membership;
use prost_types::Duration;

fn now() -> DateTime<Utc> {
    "2026-11-27T12:00:00Z".parse().unwrap()
}

fn device() -> Device {
    Device {
        source_address: "192.0.2.7".to_owned(),
        requested_tags: vec!["tag:prod".to_owned()],
        ..Device::default()
    }
}

fn proof(class: &str, seconds_ago: i64) -> LoginProof {
    LoginProof {
        kind: ProofKind::Oidc,
        class: (!class.is_empty()).then(|| class.to_owned()),
        methods: vec!["pwd".to_owned()],
        authenticated_at: Some(now().timestamp() - seconds_ago),
    }
}

fn everyone() -> Condition {
    Condition {
        scope: ConditionScope::Everyone.into(),
        ..Condition::default()
    }
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn verdict(condition: &Condition, proof: &LoginProof, has_stepped_up: bool) -> ConditionVerdict {
    let device = device();
    let login = ConditionedLogin {
        purpose: LoginPurpose::Unspecified,
        device: &device,
        connection_id: 7,
        kind: proof.kind,
    };
    judge(&[condition], &login, proof, has_stepped_up, now())
}

fn refused(condition: &Condition, proof: &LoginProof) -> bool {
    matches!(
        verdict(condition, proof, false),
        ConditionVerdict::Refused(_)
    )
}

#[test]
fn class_that_is_missing_is_asked_for_once_and_then_refused() {
    let gold = Condition {
        acr: texts(&["gold"]),
        ..everyone()
    };
    assert_eq!(
        verdict(&gold, &proof("gold", 0), false),
        ConditionVerdict::Met
    );
    let asked = AskedProof {
        classes: texts(&["gold"]),
        max_age: None,
        login_again: true,
    };
    for class in ["", "silver"] {
        let proof = proof(class, 0);
        assert_eq!(
            verdict(&gold, &proof, false),
            ConditionVerdict::StepUp(asked.clone())
        );
        assert!(matches!(
            verdict(&gold, &proof, true),
            ConditionVerdict::Refused(_)
        ));
    }
    // A kind of provider that the condition says nothing of can not meet it.
    let by_saml = LoginProof {
        kind: ProofKind::Saml,
        ..proof("gold", 0)
    };
    assert!(refused(&gold, &by_saml));
}

#[test]
fn method_age_provider_and_network_are_each_judged() {
    let by_code = Condition {
        amr: texts(&["otp", "hwk"]),
        ..everyone()
    };
    assert!(matches!(
        verdict(&by_code, &proof("", 0), false),
        ConditionVerdict::StepUp(_)
    ));
    let with_code = LoginProof {
        methods: texts(&["pwd", "otp"]),
        ..proof("", 0)
    };
    assert_eq!(verdict(&by_code, &with_code, false), ConditionVerdict::Met);

    let fresh = Condition {
        max_age: Some(Duration {
            seconds: 300,
            nanos: 0,
        }),
        ..everyone()
    };
    assert_eq!(
        verdict(&fresh, &proof("", 360), false),
        ConditionVerdict::Met
    );
    assert!(matches!(
        verdict(&fresh, &proof("", 361), false),
        ConditionVerdict::StepUp(_)
    ));
    let silent = LoginProof {
        authenticated_at: None,
        ..proof("", 0)
    };
    assert!(matches!(
        verdict(&fresh, &silent, true),
        ConditionVerdict::Refused(_)
    ));

    let other_provider = Condition {
        connection_id: 8,
        ..everyone()
    };
    assert!(refused(&other_provider, &proof("", 0)));
    let elsewhere = Condition {
        networks: texts(&["198.51.100.0/24"]),
        ..everyone()
    };
    assert!(refused(&elsewhere, &proof("", 0)));
    let here = Condition {
        networks: texts(&["198.51.100.0/24", "192.0.2.0/24"]),
        ..everyone()
    };
    assert_eq!(verdict(&here, &proof("", 0), false), ConditionVerdict::Met);
}

#[test]
fn condition_applies_by_role_group_tag_and_renewal() {
    let with = |scope: ConditionScope| Condition {
        scope: scope.into(),
        ..Condition::default()
    };
    let conditions = [
        everyone(),
        Condition {
            role: Role::Admin.into(),
            ..with(ConditionScope::Role)
        },
        Condition {
            group_id: 5,
            ..with(ConditionScope::Group)
        },
        Condition {
            tag: "tag:prod".to_owned(),
            ..with(ConditionScope::Tag)
        },
        with(ConditionScope::Renewal),
        with(ConditionScope::Administration),
    ];
    let count_of = |purpose, device: &Device, user: Option<&User>| {
        let login = ConditionedLogin {
            purpose,
            device,
            connection_id: 7,
            kind: ProofKind::Oidc,
        };
        applying(&conditions, &login, user).len()
    };
    let count =
        |device: &Device, user: Option<&User>| count_of(LoginPurpose::Unspecified, device, user);
    let ops = User {
        role: Role::Admin.into(),
        memberships: vec![Membership {
            group_id: 5,
            ..Membership::default()
        }],
        ..User::default()
    };
    let member = User {
        role: Role::Member.into(),
        ..User::default()
    };
    let sessions = |user: &User| count_of(LoginPurpose::Session, &Device::default(), Some(user));
    assert_eq!((sessions(&member), sessions(&ops)), (1, 4));
    assert_eq!(count(&Device::default(), None), 1);
    assert_eq!(count(&device(), None), 2);
    assert_eq!(count(&device(), Some(&User::default())), 2);
    assert_eq!(count(&device(), Some(&ops)), 4);
    let renewing = Device {
        renews: true,
        ..Device::default()
    };
    assert_eq!(count(&renewing, Some(&ops)), 4);
    let occasions = conditions
        .iter()
        .filter_map(|one| describe_occasion(one, &User::default()));
    assert_eq!(occasions.count(), 3);
}

#[test]
fn one_class_that_meets_all_is_asked_for() {
    let weak = Condition {
        acr: texts(&["silver", "gold"]),
        max_age: Some(Duration {
            seconds: 600,
            nanos: 0,
        }),
        ..everyone()
    };
    let strong = Condition {
        acr: texts(&["gold"]),
        max_age: Some(Duration {
            seconds: 60,
            nanos: 0,
        }),
        ..everyone()
    };
    let asked = ask_for(&[&weak, &strong], ProofKind::Oidc);
    assert_eq!((asked.classes, asked.max_age), (texts(&["gold"]), Some(60)));
    assert_eq!(ask_for(&[&weak], ProofKind::Saml).classes, texts(&[]));
}

#[test]
fn condition_names_whom_and_what() {
    let mut nothing = everyone();
    assert!(normalize_condition(&mut nothing).is_err());
    let mut roleless = Condition {
        scope: ConditionScope::Role.into(),
        acr: texts(&["gold"]),
        ..Condition::default()
    };
    assert!(normalize_condition(&mut roleless).is_err());
    let mut good = Condition {
        scope: ConditionScope::Group.into(),
        group: "group:ops".to_owned(),
        networks: texts(&["192.0.2.9/24", "192.0.2.9", "2001:db8::1/64"]),
        ..Condition::default()
    };
    normalize_condition(&mut good).unwrap();
    assert_eq!(good.group, "ops");
    let networks = ["192.0.2.0/24", "192.0.2.9/32", "2001:db8::/64"];
    assert_eq!(good.networks, texts(&networks));
    // Of where a login comes from no more is kept than the /64, so that one address would shut out everybody.
    for wrong in ["here", "2001:db8::1"] {
        good.networks = texts(&[wrong]);
        assert!(normalize_condition(&mut good).is_err(), "{wrong}");
    }
}

#[test]
fn passkey_is_a_second_factor_and_a_link_is_none() {
    let device = Device::default();
    let login = ConditionedLogin {
        purpose: LoginPurpose::Unspecified,
        device: &device,
        connection_id: 0,
        kind: ProofKind::Local,
    };
    let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
    let second_factor = Condition {
        amr: vec!["mfa".to_owned()],
        ..Condition::default()
    };
    let judged = |condition: &Condition, proof| judge(&[condition], &login, &proof, true, now);
    let passkey = judged(&second_factor, LoginProof::of_passkey(now));
    assert_eq!(passkey, ConditionVerdict::Met);
    let link = judged(&second_factor, LoginProof::of_invitation(now));
    assert!(matches!(link, ConditionVerdict::Refused(_)));
    let class_of_a_provider = Condition {
        acr: vec!["gold".to_owned()],
        ..Condition::default()
    };
    let passkey = judged(&class_of_a_provider, LoginProof::of_passkey(now));
    assert!(
        matches!(passkey, ConditionVerdict::Refused(_)),
        "it has no class"
    );
}

#[test]
fn networks_of_conditions_are_not_asked_of_ssh_connections() {
    let condition = Condition {
        scope: ConditionScope::Everyone.into(),
        networks: vec!["198.51.100.0/24".to_owned()],
        ..Condition::default()
    };
    let device = device();
    let verdict = |purpose| {
        let login = ConditionedLogin {
            purpose,
            device: &device,
            connection_id: 7,
            kind: ProofKind::Local,
        };
        judge(
            &[&condition],
            &login,
            &LoginProof::of_passkey(now()),
            true,
            now(),
        )
    };
    assert_eq!(verdict(LoginPurpose::SshCheck), ConditionVerdict::Met);
    for purpose in [LoginPurpose::Unspecified, LoginPurpose::Session] {
        assert!(matches!(verdict(purpose), ConditionVerdict::Refused(_)));
    }
}
