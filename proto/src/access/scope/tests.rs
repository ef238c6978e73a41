use super::*;

fn scope(text: &str) -> Scope {
    text.parse().expect("a scope")
}

#[test]
fn each_scope_has_one_text() {
    for area in Area::ALL {
        for one in [Scope::to_change(area), Scope::to_read(area)] {
            assert_eq!(scope(&one.to_string()), one);
        }
    }
    for wrong in [
        "",
        "read",
        ":read",
        "devices",
        "devices:core:read:read",
        "All",
        "dns ",
    ] {
        assert_eq!(wrong.parse::<Scope>(), Err(UnknownScope(wrong.to_owned())));
    }
}

#[test]
fn to_change_includes_to_read_and_all_includes_each() {
    for (has, needed, is_included) in [
        ("dns", "dns", true),
        ("dns", "dns:read", true),
        ("dns:read", "dns", false),
        ("dns", "users", false),
        ("all", "dns", true),
        ("all", "all", true),
        ("all:read", "dns:read", true),
        ("all:read", "dns", false),
        ("all:read", "all", false),
        ("dns", "all", false),
        ("dns", "all:read", false),
    ] {
        assert_eq!(
            scope(has).includes(scope(needed)),
            is_included,
            "{has} {needed}"
        );
    }
}

#[test]
fn scopes_say_what_is_missing() {
    let has = Scopes::parse(["dns", "users:read", "dns"]).expect("scopes");
    assert_eq!(has.to_string(), "users:read dns");
    let wanted = Scopes::parse(["dns:read", "users", "policy_file"]).expect("scopes");
    assert_eq!(wanted.without(&has).to_string(), "users policy_file");
    assert!(wanted.without(&Scopes::everything()).is_empty());
}
