use super::*;

fn person(mail: Option<&str>) -> Person {
    Person {
        issuer: "https://login.example.com:8443/realms/a".to_owned(),
        subject: "1".to_owned(),
        mail: mail.map(str::to_owned),
        username: "amira".to_owned(),
        groups: Some(vec!["dev".to_owned()]),
        ..Person::default()
    }
}

fn admitting(admission: Admission) -> Connection {
    Connection {
        domains: vec!["example.com".to_owned()],
        admission: Some(admission),
        ..Connection::default()
    }
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn login_name_is_the_mail_address_or_at_the_provider_s_host() {
    assert_eq!(
        login_name(&person(Some("amira@example.com"))).unwrap(),
        "amira@example.com"
    );
    assert_eq!(
        login_name(&person(None)).unwrap(),
        "amira@login.example.com"
    );
    // A name that looks like an address of somebody else does not become one.
    let mut odd = person(None);
    odd.username = "boss@example.com".to_owned();
    assert_eq!(login_name(&odd).unwrap(), "boss@login.example.com");
    odd.username.clear();
    assert!(login_name(&odd).is_err());
}

#[test]
fn each_list_of_an_admission_has_to_have_the_person() {
    let amira = person(Some("Amira@Example.com"));
    let admitted = |admission| check_admission(&admitting(admission), &amira, None).is_ok();
    assert!(admitted(Admission::default()));
    let domains = |list: &[&str]| Admission {
        domains: words(list),
        ..Admission::default()
    };
    assert!(admitted(domains(&["other.com", "example.com"])));
    assert!(!admitted(domains(&["ample.com"])));
    assert!(!admitted(domains(&["com"])));
    let groups = |list: &[&str]| Admission {
        groups: words(list),
        ..Admission::default()
    };
    assert!(admitted(groups(&["ops", "dev"])));
    assert!(!admitted(groups(&["ops"])));
    let users = |list: &[&str]| Admission {
        users: words(list),
        ..Admission::default()
    };
    assert!(admitted(users(&["amira@example.com"])));
    assert!(!admitted(users(&["ben@example.com"])));
    assert!(!admitted(Admission {
        groups: words(&["dev"]),
        ..users(&["ben@example.com"])
    }));
}

#[test]
fn known_users_only_lets_in_who_has_a_user() {
    let connection = admitting(Admission {
        known_users_only: true,
        ..Admission::default()
    });
    let user = User {
        login_name: "amira@example.com".to_owned(),
        ..User::default()
    };
    assert!(check_admission(&connection, &person(None), Some(&user)).is_ok());
    let refused =
        check_admission(&connection, &person(Some("amira@example.com")), None).unwrap_err();
    assert!(
        refused.to_string().contains("Ask an administrator"),
        "{refused}"
    );
}

#[test]
fn user_is_linked_by_an_address_in_a_domain_of_the_connection_only() {
    let connection = admitting(Admission::default());
    assert!(may_link(&connection, &person(Some("amira@EXAMPLE.com"))));
    for mail in [
        None,
        Some("amira@sub.example.com"),
        Some("amira@notexample.com"),
        Some("example.com"),
    ] {
        assert!(!may_link(&connection, &person(mail)), "{mail:?}");
    }
}

#[test]
fn who_is_admitted_no_more_is_refused_by_what_the_provider_says() {
    let user = User {
        login_name: "amira@example.com".to_owned(),
        ..User::default()
    };
    let judge = |admission: Admission, person: &Person, says_mail| {
        check_still_admitted(&admitting(admission), person, says_mail, &user).is_ok()
    };
    let domains = || Admission {
        domains: words(&["example.com"]),
        ..Admission::default()
    };
    let groups = || Admission {
        groups: words(&["ops"]),
        ..Admission::default()
    };
    let users = |name: &str| Admission {
        users: words(&[name]),
        known_users_only: true,
        ..Admission::default()
    };
    let amira = person(Some("amira@example.com"));
    let moved = person(Some("amira@elsewhere.example"));
    assert!(judge(domains(), &amira, true));
    assert!(!judge(domains(), &moved, true));
    assert!(
        !judge(domains(), &person(None), true),
        "her address is not verified any more"
    );
    assert!(
        judge(domains(), &person(None), false),
        "nothing is said of her address"
    );
    assert!(!judge(groups(), &amira, true));
    let unknown = Person {
        groups: None,
        ..amira.clone()
    };
    assert!(judge(groups(), &unknown, true), "nothing is said of groups");
    assert!(judge(users("Amira@example.com"), &person(None), false));
    assert!(!judge(users("ben@example.com"), &amira, true));
}
