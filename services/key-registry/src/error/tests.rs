use super::*;

#[test]
fn refusal_of_a_service_at_its_limit_is_told_in_its_own_words() {
    let status = Status::resource_exhausted("too many logins wait: try again in a moment");
    let error = RegistryError::from_service("identity")(status);
    assert_eq!(
        error.to_string(),
        "too many logins wait: try again in a moment"
    );
    let error = RegistryError::from_service("identity")(Status::unavailable("no route"));
    assert_eq!(error.to_string(), "identity can not be asked: no route");
}
