use super::*;
use crate::DocumentContext;

fn policy() -> Policy {
    Policy::parse(
        r#"{"groups": {"group:eng": ["amira@example.com"]},
                "tagOwners": {"tag:web": ["group:eng"], "tag:db": ["tag:web"], "tag:none": [],
                              "tag:a": ["tag:b"], "tag:b": ["tag:a"]}}"#,
        &DocumentContext::default(),
    )
    .unwrap()
}

fn user(login_name: &str, role: Role) -> Applicant {
    let user = PolicyUser {
        login_name: login_name.to_owned(),
        role,
        ..PolicyUser::default()
    };
    Applicant {
        user: Some(user),
        ..Applicant::default()
    }
}

fn refused(applicant: &Applicant, tags: &[&str]) -> Vec<String> {
    let tags: Vec<_> = tags.iter().map(|&tag| tag.to_owned()).collect();
    refused_tags(&policy(), applicant, &tags)
}

#[test]
fn owners_may_use_their_tags_and_those_below() {
    let amira = user("amira@example.com", Role::Member);
    assert!(refused(&amira, &["tag:web", "tag:db"]).is_empty());
    assert_eq!(refused(&amira, &["tag:web", "tag:none"]), ["tag:none"]);
    let web = Applicant {
        tags: vec!["tag:web".to_owned()],
        ..Applicant::default()
    };
    assert!(refused(&web, &["tag:db"]).is_empty());
    assert_eq!(refused(&web, &["tag:web"]), ["tag:web"]);
}

#[test]
fn tags_are_the_same_in_any_case() {
    let policy = Policy::parse(
        r#"{"tagOwners": {"tag:Web": ["amira@example.com"], "tag:db": ["tag:wEb"]},
                "autoApprovers": {"routes": {"10.0.0.0/8": ["tag:WEB"]}}}"#,
        &DocumentContext::default(),
    )
    .unwrap();
    let amira = user("amira@example.com", Role::Member);
    let requested = ["tag:web", "tag:WEB", "tag:Db"].map(str::to_owned);
    assert!(refused_tags(&policy, &amira, &requested).is_empty());
    let route = ["10.1.0.0/16".parse().unwrap()];
    let web = Applicant {
        tags: vec!["tag:WeB".to_owned()],
        ..Applicant::default()
    };
    assert_eq!(approved_routes(&policy, &web, &route), route);
    assert!(refused_tags(&policy, &web, &["tag:db".to_owned()]).is_empty());
}

#[test]
fn tags_that_no_owner_is_named_for_are_undefined_whoever_asks() {
    let tags = ["tag:none", "tag:X", "tag:WEB", "tag:X"].map(str::to_owned);
    assert_eq!(undefined_tags(&policy(), &tags), ["tag:X"]);
    assert_eq!(
        undefined_tags(&Policy::allow_all(), &tags[..1]),
        ["tag:none"]
    );
}

#[test]
fn strangers_undefined_tags_and_cycles_get_nothing() {
    let ben = user("ben@example.com", Role::Member);
    assert_eq!(
        refused(&ben, &["tag:web", "tag:a", "tag:x"]),
        ["tag:web", "tag:a", "tag:x"]
    );
    let admin = user("ben@example.com", Role::Admin);
    assert_eq!(refused(&admin, &["tag:none", "tag:x"]), ["tag:x"]);
}
