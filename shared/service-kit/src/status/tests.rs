use super::*;

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the pool has no address left")]
    PoolEmpty,
    #[error("row 7 makes no sense")]
    Defect,
}

impl ServiceError for Refusal {
    fn code(&self) -> Code {
        match self {
            Self::PoolEmpty => Code::ResourceExhausted,
            Self::Defect => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::PoolEmpty => "POOL_EMPTY",
            Self::Defect => "DEFECT",
        }
    }

    fn retry_after(&self) -> Duration {
        Duration::from_secs(30)
    }
}

#[test]
fn a_caller_learns_reason_and_retry_time() {
    let status = to_status(&Refusal::PoolEmpty);
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert_eq!(status.message(), "the pool has no address left");
    assert_eq!(status_reason(&status).as_deref(), Some("POOL_EMPTY"));
    assert_eq!(retry_after(&status), Some(Duration::from_secs(30)));
}

#[test]
fn a_defect_tells_no_details() {
    let status = to_status(&Refusal::Defect);
    assert_eq!(status.message(), "internal error");
    assert_eq!(retry_after(&status), None);
}
