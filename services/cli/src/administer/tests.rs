use super::*;

fn find(wanted: &str) -> Result<Option<u64>, Failure> {
    let nodes = [("laptop", 41), ("42", 43), ("web1", 42), ("44", 44)];
    pick_one(
        "node",
        wanted,
        nodes.into_iter().map(|(name, id)| (name, id, id)),
    )
}

#[test]
fn login_name_is_found_in_any_case_unless_two_differ_in_nothing_else() {
    let user = |login_name: &str| User {
        login_name: login_name.to_owned(),
        ..User::default()
    };
    let users = ["Ämira@Example.com", "noor@a.test", "Noor@a.test"].map(user);
    let found = only_named_alike(&users, "äMIRA@example.COM").unwrap();
    assert_eq!(found, Some(&users[0]));
    assert_eq!(only_named_alike(&users, "somebody@a.test").unwrap(), None);
    let refused = only_named_alike(&users, "NOOR@a.test").unwrap_err();
    assert!(
        refused.to_string().contains("noor@a.test or Noor@a.test"),
        "{refused}"
    );
}

#[test]
fn name_or_number_finds_one_and_what_could_be_both_is_refused_naming_both() {
    for (wanted, id) in [
        ("laptop", 41),
        ("41", 41),
        ("43", 43),
        ("web1", 42),
        ("44", 44),
    ] {
        assert_eq!(find(wanted).unwrap(), Some(id), "{wanted}");
    }
    assert_eq!(find("45").unwrap(), None);
    let refused = find("42").unwrap_err();
    assert_eq!(refused.exit_code(), FailureKind::Refused as u8);
    for part in ["number 43 is called \"42\"", "number 42 \"web1\""] {
        assert!(refused.to_string().contains(part), "{refused}");
    }
}
