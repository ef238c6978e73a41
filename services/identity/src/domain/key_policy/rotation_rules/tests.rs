use super::*;

fn after(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 7 })
}

fn tag(tag: &str, interval: Option<Duration>) -> TagRotation {
    let tag = tag.to_owned();
    TagRotation { tag, interval }
}

#[test]
fn rules_have_one_form() {
    let mut rules = RotationRules {
        interval: after(86_400),
        tags: vec![tag("tag:web", after(60)), tag("tag:db", after(120))],
    };
    normalize_rules(&mut rules).unwrap();
    let exact = |seconds| Some(Duration { seconds, nanos: 0 });
    assert_eq!(rules.interval, exact(86_400));
    let tags = [tag("tag:db", exact(120)), tag("tag:web", exact(60))];
    assert_eq!(rules.tags, tags);
}

#[test]
fn what_is_no_rule_is_refused_with_its_place() {
    for (rules, says) in [
        (vec![tag("web", after(60))], "tag: and a name"),
        (vec![tag("tag:1", after(60))], "tag: and a name"),
        (
            vec![tag(&format!("tag:{}", "a".repeat(97)), after(60))],
            "tag: and a name",
        ),
        (vec![tag("tag:web", None)], "without an interval"),
        (vec![tag("tag:web", after(59))], "between a minute"),
        (
            vec![tag("tag:web", after(60)); 2],
            "more than once: leave all but one out",
        ),
        (
            vec![tag("tag:web", after(60)); 101],
            "more than 100: leave out those",
        ),
    ] {
        let mut rules = RotationRules {
            interval: None,
            tags: rules,
        };
        let problem = normalize_rules(&mut rules).unwrap_err().to_string();
        assert!(problem.starts_with("key_policy.rotation.tags"), "{problem}");
        assert!(problem.contains(says), "{problem}");
    }
    for seconds in [0, -60, LONGEST_LIFETIME + 1] {
        let mut rules = RotationRules {
            interval: after(seconds),
            tags: Vec::new(),
        };
        let problem = normalize_rules(&mut rules).unwrap_err().to_string();
        assert!(
            problem.starts_with("key_policy.rotation.interval"),
            "{problem}"
        );
    }
}
