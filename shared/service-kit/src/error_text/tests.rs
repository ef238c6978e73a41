use super::*;

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("can not listen on {0}")]
    Silent(u16, #[source] std::io::Error),
    #[error("can not listen on {0}: {1}")]
    Telling(u16, #[source] std::io::Error),
}

#[test]
fn each_cause_is_said_once() {
    let cause = || std::io::Error::other("the port is taken");
    for error in [Failure::Silent(1, cause()), Failure::Telling(1, cause())] {
        assert_eq!(error_text(&error), "can not listen on 1: the port is taken");
    }
}
