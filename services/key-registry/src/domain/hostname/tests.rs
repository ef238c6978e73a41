use super::*;

#[test]
fn any_hostname_gives_the_label_that_clients_expect() {
    for (hostname, expected) in [
        ("Joe's Mac mini", "joes-mac-mini"),
        ("server-\u{5317}\u{4eac}-01", "server--01"),
        ("server--01", "server--01"),
        ("mail.server", "mail-server"),
        ("\u{6211}\u{7684}\u{7535}\u{8111}", "node"),
        ("My-PC!", "my-pc"),
        ("test_node", "test-node"),
        ("a@b", "a-b"),
        ("web.local", "web"),
        ("web.localdomain", "web"),
        ("web.lan", "web"),
        ("web.lan.local", "web"),
        ("web.local.lan", "web-local"),
        ("web.LOCAL", "web-local"),
        ("web.example.com", "web-example-com"),
        ("...web.", "web"),
        (".local", "node"),
        ("--", "node"),
        ("", "node"),
        ("\u{202e}evil\0", "evil"),
        ("\u{fc}n\u{ef}", "n"),
    ] {
        assert_eq!(derive_label(hostname), expected, "{hostname:?}");
    }
    assert_eq!(derive_label(&"a".repeat(300)), "a".repeat(63));
    // What lies beyond 63 bytes is cut off before the ends are looked at.
    assert_eq!(
        derive_label(&format!("{}.b", "a".repeat(62))),
        "a".repeat(62)
    );
}

#[test]
fn numbered_names_are_labels_and_known_as_made_from_one() {
    assert_eq!(
        (number_label("web", 0), number_label("web", 2)),
        ("web".into(), "web-2".into())
    );
    assert!(is_derived_from("web", "web") && is_derived_from("web-12", "web"));
    assert!(
        !is_derived_from("web-a", "web")
            && !is_derived_from("webs", "web")
            && !is_derived_from("we", "web")
    );
    let longest = "a".repeat(63);
    assert_eq!(number_label(&longest, 12), format!("{}-12", "a".repeat(60)));
    assert!(is_derived_from(&number_label(&longest, 12), &longest));
}

#[test]
fn chosen_names_are_labels() {
    assert!(check_label("web-1").is_ok() && check_label(&"a".repeat(63)).is_ok());
    for name in ["", "Web", "a.b", "-a", "a-", &"a".repeat(64)] {
        assert!(check_label(name).is_err(), "{name}");
    }
}

#[test]
fn number_of_a_name_is_told_where_the_name_is_made_from_the_label() {
    assert_eq!(derived_number("laptop", "laptop"), Some(0));
    assert_eq!(derived_number("laptop-12", "laptop"), Some(12));
    assert_eq!(derived_number("laptop-12", "phone"), None);
    assert_eq!(derived_number("laptop-012", "laptop"), None);
    let long = "a".repeat(63);
    assert_eq!(derived_number(&number_label(&long, 40), &long), Some(40));
}
