use super::*;

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

fn value(kind: Kind) -> Option<CustomValue> {
    Some(CustomValue { kind: Some(kind) })
}

fn text(text: &str) -> Option<CustomValue> {
    value(Kind::Text(text.to_owned()))
}

fn wanted(name: &str, value: Option<CustomValue>) -> Result<WantedAttribute, RegistryError> {
    WantedAttribute::new(name.to_owned(), value, AttributeEnd::Never, String::new())
}

fn ending(name: &str, end: AttributeEnd) -> WantedAttribute {
    WantedAttribute::new(name.to_owned(), text("x"), end, String::new()).unwrap()
}

fn changes(set: Vec<WantedAttribute>, remove: &[&str]) -> Result<AttributeChanges, RegistryError> {
    let remove = remove.iter().map(|&name| name.to_owned());
    AttributeChanges::new(set, remove.collect())
}

fn names(node: &Node) -> Vec<&str> {
    let named = node.attributes.iter();
    named.map(|attribute| attribute.name.as_str()).collect()
}

#[test]
fn attributes_within_bounds_are_taken_and_others_named() {
    let longest = "x".repeat(200);
    let longer = "x".repeat(201);
    let good = [
        text("gold"),
        text(&longest),
        value(Kind::Number(-0.5)),
        value(Kind::Flag(false)),
    ];
    for one in good {
        wanted("custom:tier", one).unwrap();
    }
    let bad = [
        None,
        Some(CustomValue::default()),
        text(""),
        text(&longer),
        text("two\nlines"),
        value(Kind::Number(f64::NAN)),
        value(Kind::Number(f64::INFINITY)),
    ];
    for one in bad {
        let refused = wanted("custom:tier", one.clone()).unwrap_err().to_string();
        assert!(refused.contains("custom:tier"), "{one:?}: {refused}");
    }
    let refused = wanted("node:os", text("linux")).unwrap_err().to_string();
    assert!(refused.contains("\"node:os\" is none"), "{refused}");
    let comment = WantedAttribute::new(
        "custom:tier".to_owned(),
        text("x"),
        AttributeEnd::Never,
        longer,
    );
    assert!(comment.unwrap_err().to_string().contains("comment"));
}

#[test]
fn attributes_are_set_replaced_removed_and_stay_sorted() {
    let mut node = Node::default();
    let first = vec![
        wanted("custom:b", text("1")).unwrap(),
        wanted("custom:a", text("1")).unwrap(),
    ];
    changes(first, &[])
        .unwrap()
        .apply_to(&mut node, NOW)
        .unwrap();
    assert_eq!(names(&node), ["custom:a", "custom:b"]);
    let second = vec![ending(
        "custom:b",
        AttributeEnd::After(TimeDelta::seconds(10)),
    )];
    let second = changes(second, &["custom:a", "custom:unknown"]).unwrap();
    second.apply_to(&mut node, NOW).unwrap();
    assert_eq!(names(&node), ["custom:b"]);
    let end = node.attributes[0].expires_at.and_then(from_timestamp);
    assert_eq!(end, Some(NOW + TimeDelta::seconds(10)));
    // An attribute that is set anew without an end has none.
    let third = vec![wanted("custom:b", text("3")).unwrap()];
    changes(third, &[])
        .unwrap()
        .apply_to(&mut node, NOW)
        .unwrap();
    assert_eq!(node.attributes[0].expires_at, None);
}

#[test]
fn ends_lie_ahead_and_not_too_far() {
    for end in [
        AttributeEnd::At(NOW),
        AttributeEnd::At(NOW - TimeDelta::seconds(1)),
        AttributeEnd::After(TimeDelta::zero()),
        AttributeEnd::After(TimeDelta::days(101 * 365)),
        AttributeEnd::After(TimeDelta::MAX),
    ] {
        let asked = changes(vec![ending("custom:a", end)], &[]).unwrap();
        let refused = asked.apply_to(&mut Node::default(), NOW);
        assert!(
            refused.unwrap_err().to_string().contains("custom:a"),
            "{end:?}"
        );
    }
}

#[test]
fn node_has_fifty_attributes_and_no_more() {
    let some = |range: std::ops::Range<usize>| {
        let set = range.map(|number| wanted(&format!("custom:a{number}"), text("x")).unwrap());
        changes(set.collect(), &[]).unwrap()
    };
    let mut node = Node::default();
    some(0..50).apply_to(&mut node, NOW).unwrap();
    some(0..50).apply_to(&mut node, NOW).unwrap();
    let one_more = some(50..51).apply_to(&mut node.clone(), NOW);
    assert!(one_more.unwrap_err().to_string().contains("more than 50"));
    let exchange = vec![wanted("custom:new", text("x")).unwrap()];
    let exchange = changes(exchange, &["custom:a0"]).unwrap();
    exchange.apply_to(&mut node, NOW).unwrap();
    assert_eq!(node.attributes.len(), 50);
}

#[test]
fn an_attribute_is_named_once() {
    let one = || wanted("custom:a", text("x")).unwrap();
    assert!(changes(vec![one(), one()], &[]).is_err());
    assert!(changes(vec![one()], &["custom:a"]).is_err());
    assert!(changes(Vec::new(), &["custom:a", "custom:a"]).is_err());
    assert!(changes(Vec::new(), &["a"]).is_err());
    assert!(changes(vec![one()], &["custom:b"]).is_ok());
}

#[test]
fn only_what_has_ended_ends() {
    let mut node = Node::default();
    let soon = NOW + TimeDelta::seconds(10);
    let set = vec![
        ending("custom:first", AttributeEnd::At(soon)),
        ending(
            "custom:later",
            AttributeEnd::At(soon + TimeDelta::microseconds(1)),
        ),
        ending("custom:never", AttributeEnd::Never),
    ];
    changes(set, &[]).unwrap().apply_to(&mut node, NOW).unwrap();
    end_due(&mut node, soon - TimeDelta::microseconds(1));
    assert_eq!(node.attributes.len(), 3);
    end_due(&mut node, soon);
    assert_eq!(names(&node), ["custom:later", "custom:never"]);
}

#[test]
fn differences_say_what_was_and_what_is() {
    let with = |set: Vec<WantedAttribute>| {
        let mut node = Node::default();
        changes(set, &[]).unwrap().apply_to(&mut node, NOW).unwrap();
        node
    };
    let same = || wanted("custom:same", value(Kind::Flag(true))).unwrap();
    let before = with(vec![same(), wanted("custom:gone", text("x")).unwrap()]);
    let after = with(vec![
        same(),
        wanted("custom:new", value(Kind::Number(1.5))).unwrap(),
    ]);
    let (was, is) = changed_attributes(&before, &after).unwrap();
    let described = |value: Value| json!({ "value": value, "expires_at": null, "comment": "" });
    let expected = json!({ "custom:gone": described("x".into()), "custom:new": null });
    assert_eq!(was, expected);
    let expected = json!({ "custom:gone": null, "custom:new": described(1.5.into()) });
    assert_eq!(is, expected);
    assert_eq!(changed_attributes(&after, &after), None);
}
