use super::*;

#[test]
fn tags_are_sorted_and_checked() {
    let tags = |texts: &[&str]| canonical_tags(texts.iter().map(|&t| t.to_owned()).collect());
    assert_eq!(
        tags(&["tag:b", "tag:a", "tag:b"]).unwrap(),
        ["tag:a", "tag:b"]
    );
    for wrong in ["web", "tag:", "tag:1a", "tag:a_b", "tag:a\n"] {
        assert!(tags(&[wrong]).is_err(), "{wrong}");
    }
    let many = (0..=MOST_TAGS).map(|number| format!("tag:a{number}"));
    let refused = canonical_tags(many.collect()).unwrap_err().to_string();
    assert!(refused.contains("leave some out"), "{refused}");
}
