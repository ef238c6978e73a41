use super::*;

#[test]
fn warnings_refuse_a_document_where_they_are_to() {
    let text = r#"{"postures": {"posture:p": ["ip:country == 'DE'"]}}"#;
    let verdict = check_document(text, None);
    assert!(verdict.policy.is_some() && verdict.problems.is_empty());
    assert_eq!(verdict.warnings.len(), 1);
    let strict = verdict.refuse_warnings();
    assert!(strict.policy.is_none() && strict.warnings.is_empty());
    assert_eq!(strict.problems.len(), 1);
    assert!(
        check_document("{}", None)
            .refuse_warnings()
            .policy
            .is_some()
    );
}
