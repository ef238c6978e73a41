use std::time::Duration;

use super::*;

const AGE: Duration = Duration::from_secs(600);

fn is_failure(known: Option<Result<Arc<Metadata>, OidcError>>) -> bool {
    known.is_some_and(|known| known.is_err())
}

#[tokio::test(start_paused = true)]
async fn failure_is_remembered_for_seconds() {
    let memory = ProviderMemory::new("https://login.example.com".to_owned());
    assert!(memory.recall(AGE, Instant::now()).is_none());
    let error = memory.note_failure("the connection failed".to_owned());
    let words = "the provider https://login.example.com can not be asked: the connection failed";
    assert_eq!(error.to_string(), words);
    let almost = Instant::now() + FAILED_FOR - Duration::from_millis(1);
    assert!(is_failure(memory.recall(AGE, almost)));
    assert!(memory.recall(AGE, Instant::now() + FAILED_FOR).is_none());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_long_for_a_provider_that_failed_last_time() {
    let memory = ProviderMemory::new("https://login.example.com".to_owned());
    memory.note_failure("no answer".to_owned());
    tokio::time::advance(FAILED_FOR).await;
    let AskTurn::Ask(asking) = memory.await_turn(AGE).await else {
        panic!("whoever comes first asks");
    };
    let from = Instant::now();
    let told = memory.await_turn(AGE).await;
    assert!(matches!(told, AskTurn::Known(Err(_))));
    assert_eq!(from.elapsed(), PATIENCE);
    drop(asking);
    // Who asked is gone, and has said nothing.
    assert!(matches!(memory.await_turn(AGE).await, AskTurn::Ask(_)));
}

fn published() -> Arc<Metadata> {
    let issuer = "https://login.example.com";
    let document = serde_json::json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
    });
    serde_json::from_value(document).unwrap()
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_share_the_answer_of_the_one_who_asks() {
    let memory = ProviderMemory::new("https://login.example.com".to_owned());
    let AskTurn::Ask(asking) = memory.await_turn(AGE).await else {
        panic!("nothing is known");
    };
    let wait = async || memory.await_turn(AGE).await;
    let answer = async {
        memory.note_published(&published());
        drop(asking);
    };
    let (one, other, ()) = tokio::join!(wait(), wait(), answer);
    for told in [one, other] {
        assert!(matches!(told, AskTurn::Known(Ok(_))));
    }
    // For a key that is not known it is asked anew a little later, and a failure then takes away nothing.
    let young = Duration::from_secs(5);
    tokio::time::advance(young).await;
    let AskTurn::Ask(_asking) = memory.await_turn(young).await else {
        panic!("what is known is too old");
    };
    memory.note_failure("no answer".to_owned());
    assert!(is_failure(memory.recall(young, Instant::now())));
    assert!(
        memory
            .recall(AGE, Instant::now())
            .is_some_and(|known| known.is_ok())
    );
}
