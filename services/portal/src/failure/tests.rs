use tonic_types::{ErrorDetails, StatusExt as _};

use super::*;

#[test]
fn person_whose_role_allows_nothing_reads_no_rpc() {
    let details = ErrorDetails::with_error_info(CALL_DENIED, "bowline", []);
    let text = "kim@example.com (member) may not call /bowline.identity.v1.LoginService/ListLogins";
    let failure = Status::with_error_details(Code::PermissionDenied, text, details);
    let failure = PageFailure::from(failure);
    let (title, lead, more) = failure.texts();
    let shown = format!("{title} {lead} {more}");
    assert!(
        shown.contains("Your role") && !shown.contains('/'),
        "{shown}"
    );
}

#[test]
fn person_reads_why_the_service_refuses() {
    let failure = PageFailure::from(Status::permission_denied("You are suspended."));
    assert_eq!(failure.texts().1, "You are suspended.");
}
