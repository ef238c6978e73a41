use proptest::prelude::*;
use serde_json::json;

use super::*;

fn matches_user(filter: &str, user: &Value) -> bool {
    let filter = ScimFilter::parse(ScimType::User, filter)
        .unwrap_or_else(|error| panic!("{filter}: {error}"));
    filter.matches(user.as_object().expect("an object"))
}

fn amira() -> Value {
    json!({
        "id": "A1", "externalId": "Ex", "userName": "Amira@Example.com", "title": "Mate", "active": true,
        "name": { "familyName": "O'Hara", "formatted": "Amira \"Ami\" O'Hara" },
        "meta": { "created": "2026-05-13T04:42:34Z", "lastModified": "2026-05-14T01:00:00+02:00" },
        "emails": [
            { "value": "amira@example.com", "type": "work", "primary": true },
            { "value": "ami@home.example.org", "type": "home" },
        ],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "Deck", "manager": { "value": "B2" } },
    })
}

#[test]
fn operators_compare_by_the_kind_of_value() {
    for (filter, is_met) in [
        ("userName eq \"amira@example.COM\"", true),
        ("USERNAME EQ \"amira@example.com\"", true),
        ("id eq \"a1\"", false),
        ("id eq \"A1\"", true),
        ("externalId ne \"ex\"", true),
        ("name.familyName co \"'ha\"", true),
        ("name.formatted co \"\\\"Ami\\\"\"", true),
        ("userName sw \"AMIRA\"", true),
        ("userName ew \".com\"", true),
        ("userName ew \".org\"", false),
        ("title gt \"Cook\"", true),
        ("title ge \"mate\"", true),
        ("title lt \"mate\"", false),
        ("title le \"MATE\"", true),
        ("title pr", true),
        ("nickName pr", false),
        ("nickName eq null", true),
        ("title ne null", true),
        ("nickName ne \"x\"", true),
        ("active eq true", true),
        ("active eq \"True\"", true),
        ("active ne False", true),
        ("meta.created gt \"2026-05-13T04:42:33Z\"", true),
        ("meta.created eq \"2026-05-13T06:42:34+02:00\"", true),
        ("meta.lastModified lt \"2026-05-13T23:00:01Z\"", true),
        ("meta.created sw \"2026-05\"", true),
        ("emails pr", true),
        ("emails.type eq \"home\"", true),
        ("emails co \"home.example\"", true),
        ("emails ne \"amira@example.com\"", false),
        (
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq \"deck\"",
            true,
        ),
        (
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value eq \"B2\"",
            true,
        ),
    ] {
        assert_eq!(matches_user(filter, &amira()), is_met, "{filter}");
    }
}

#[test]
fn joints_bind_as_the_standard_says() {
    for (filter, is_met) in [
        ("title eq \"x\" and active eq true or userName pr", true),
        ("title eq \"x\" and (active eq true or userName pr)", false),
        ("not (title eq \"x\") and active eq true", true),
        ("not(title eq \"x\" or active eq true)", false),
        (
            "emails[type eq \"work\" and value co \"@example.com\"]",
            true,
        ),
        (
            "emails[type eq \"home\" and value co \"@example.com\"]",
            false,
        ),
        (
            "emails[not (type eq \"work\") and value pr] and title pr",
            true,
        ),
        ("((((title pr))))", true),
        ("title eq \"not (and or)\"", false),
    ] {
        assert_eq!(matches_user(filter, &amira()), is_met, "{filter}");
    }
}

#[test]
fn what_can_not_be_read_is_refused_in_words() {
    for filter in [
        "",
        "   ",
        "title",
        "title eq",
        "title is \"a\"",
        "title eq a",
        "title eq \"a",
        "title eq {}",
        "title eq [1]",
        "(title pr",
        "title pr)",
        "title pr title pr",
        "and title pr",
        "not title pr",
        "emails[type eq \"work\"",
        "emails[color eq \"x\"]",
        "title[value eq \"x\"]",
        "emails[type[value pr]]",
        "active gt true",
        "active eq \"perhaps\"",
        "name eq \"Amira\"",
        "meta.created gt \"yesterday\"",
        "color eq \"red\"",
        "title co null",
        "title eq \"\\ud800\"",
        "members pr",
    ] {
        let error = ScimFilter::parse(ScimType::User, filter).expect_err(filter);
        assert_eq!(
            error.kind,
            ScimErrorKind::InvalidFilter,
            "{filter}: {error}"
        );
        assert!(
            !error.detail.is_empty() && error.detail.len() < 400,
            "{filter}"
        );
    }
}

#[test]
fn size_is_bounded() {
    let refused = |filter: &str| ScimFilter::parse(ScimType::User, filter).is_err();
    let nested = |deep: usize| format!("{}title pr{}", "(".repeat(deep), ")".repeat(deep));
    assert!(!refused(&nested(DEEPEST)) && refused(&nested(DEEPEST + 1)));
    assert!(refused(&nested(4000)), "no stack is used up");
    assert!(refused(&"(".repeat(LONGEST_FILTER)) && refused(&"not (".repeat(1000)));
    let many = |count: usize| vec!["title pr"; count].join(" or ");
    assert!(!refused(&many(MOST_COMPARISONS)) && refused(&many(MOST_COMPARISONS + 1)));
    assert!(refused(&format!(
        "title eq \"{}\"",
        "a".repeat(LONGEST_FILTER)
    )));
}

#[test]
fn lookups_are_found_where_everything_has_to_match_them() {
    let find = |filter: &str| {
        let filter = ScimFilter::parse(ScimType::User, filter).expect(filter);
        let found = filter.find_equality(&["id", "userName", "emails.value"]);
        found.map(|(name, text)| format!("{name}={text}"))
    };
    for (filter, found) in [
        ("userName eq \"a\"", Some("userName=a")),
        ("title pr and userName eq \"a\"", Some("userName=a")),
        ("(id eq \"1\") and active eq true", Some("id=1")),
        (
            "emails[type eq \"work\" and value eq \"b\"]",
            Some("emails.value=b"),
        ),
        ("emails.value eq \"b\"", Some("emails.value=b")),
        ("userName eq \"a\" or title pr", None),
        ("not (userName eq \"a\")", None),
        ("userName sw \"a\"", None),
        ("emails[type eq \"work\"]", None),
    ] {
        assert_eq!(find(filter).as_deref(), found, "{filter}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[a-z\\[\\]()\". ]{0,60}|.{0,80}") {
        let _ = ScimFilter::parse(ScimType::User, &text);
    }

    /// What is asked by its own value is found, whatever the value; and the negation is not.
    #[test]
    fn every_text_equals_itself(text in any::<String>()) {
        let user = json!({ "title": text });
        let filter = format!("title eq {}", Value::String(text));
        if filter.len() <= LONGEST_FILTER {
            prop_assert!(matches_user(&filter, &user));
            let negated = format!("not ({filter})");
            prop_assert!(!matches_user(&negated, &user));
        }
    }
}
