//! Providers that are down, slow, broken or lie: a login by one fails in words, and costs nothing else.

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bowline_proto::identity::v1::{
    BeginLoginAttemptRequest, CloseSessionRequest, Connection, DeleteConnectionRequest,
    FinishOidcLoginRequest, LoginAttempt, LoginAttemptState, LoginEndEffect,
    RefreshConnectionRequest, connection_service_client::ConnectionServiceClient,
    session_service_client::SessionServiceClient,
};
use bowline_service_kit::{Caller, ServiceName};
use bowline_test_oidc_provider::{Fault, ProviderBehaviour, TestOidcProvider};
use bowline_test_servers::{TestDatabase, on_both};
use futures_util::{FutureExt as _, StreamExt as _, future::join_all, stream};
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use crate::{
    identity::{TestBase, TestIdentity, channel},
    provider_logins::TestCorp,
};

mod cases;

use cases::{
    DISCOVERY, HostileCase, PERSON, Step, TOKEN, faults, faults_of_endpoints,
    let_person_be_asked_for, lies,
};

on_both!(start =>
    login_by_a_hostile_provider_fails_in_words_and_costs_nothing_else,
    what_a_browser_brings_is_not_believed_either,
    crowd_at_a_provider_that_is_down_asks_it_once,
    key_that_a_provider_rolls_is_found,
    refresh_by_a_hostile_provider_changes_nothing,
    logout_ends_here_whatever_the_provider_does,
);

/// How long what happens in the background may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many providers are tried at once.
const AT_ONCE: usize = 12;

/// Returns a process that waits for no provider as long as it may.
fn hurried() -> TestBase {
    TestBase {
        patience: Duration::from_secs(2),
        ..TestBase::default()
    }
}

async fn start(database: TestDatabase) -> TestCorp {
    let identity = TestIdentity::start_as(database, hurried()).await;
    Box::pin(TestCorp::start_with(identity)).await
}

/// A device whose person logs in by a provider of its own.
struct Newcomer {
    provider: TestOidcProvider,
    connection: Connection,
    login: String,
}

impl Newcomer {
    async fn come(corp: &TestCorp, name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let provider = TestOidcProvider::start().await;
        let issuer = provider.issuer().to_owned();
        let connection = corp.connect(name, |oidc| {
            oidc.issuer = issuer;
            oidc.on_refusal = LoginEndEffect::Suspend.into();
            oidc.refresh_interval = Some(prost_types::Duration {
                seconds: 3600,
                nanos: 0,
            });
        });
        let connection = connection.await;
        let network = format!("10.{}.{}.1", number / 250, number % 250);
        let login = corp.identity.start_login_from(number, &network);
        let login = login.await.unwrap().id;
        Self {
            provider,
            connection,
            login,
        }
    }

    async fn begin(&self, corp: &TestCorp) -> Result<String, Status> {
        corp.begin(&self.login, &self.connection).await
    }

    async fn prove(&self, corp: &TestCorp) -> Result<LoginAttempt, Status> {
        let url = self.begin(corp).await?;
        corp.finish(&self.provider.log_in(&url)).await
    }

    async fn leave(self, corp: &TestCorp) {
        let request = DeleteConnectionRequest {
            tailnet_id: corp.tailnet.id,
            connection_id: self.connection.id,
        };
        let mut client = ConnectionServiceClient::new(corp.identity.admin());
        client.delete_connection(request).await.unwrap();
    }

    /// Counts what is kept of the person.
    async fn count_kept(&self, corp: &TestCorp) -> i64 {
        let of = format!("connection_id = {}", self.connection.id);
        let mut kept = 0;
        for table in [
            "provider_sessions",
            "provider_refreshes",
            "provider_identities",
        ] {
            kept += corp.identity.count_rows_of(table, &of).await;
        }
        kept
    }

    /// Counts the attempts of the login.
    async fn count_attempts(&self, corp: &TestCorp) -> i64 {
        let of = format!("login_id = '{}'", self.login);
        corp.identity.count_rows_of("login_attempts", &of).await
    }
}

fn assert_in_words(name: &str, refused: &Status, code: Code, words: &str) {
    let message = refused.message();
    assert_eq!(refused.code(), code, "{name}: {refused}");
    assert!(message.contains(words), "{name}: {message}");
    assert!(message.len() < 1000, "{name}: {} bytes", message.len());
}

async fn try_case(corp: &TestCorp, case: HostileCase) {
    // A tailnet has few connections at a time.
    let newcomer = Newcomer::come(corp, &case.name).await;
    let tried = AssertUnwindSafe(fail_and_recover(corp, &newcomer, &case));
    let tried = tried.catch_unwind().await;
    newcomer.leave(corp).await;
    tried.unwrap_or_else(|panic| resume_unwind(panic));
}

async fn fail_and_recover(corp: &TestCorp, newcomer: &Newcomer, case: &HostileCase) {
    let name = &*case.name;
    newcomer
        .provider
        .change(|behaviour| (case.change)(behaviour));
    let begun = newcomer.begin(corp).await;
    let state = match case.step {
        Step::Begin => {
            let refused = begun.expect_err(name);
            assert_in_words(name, &refused, Code::Unavailable, case.words);
            assert_eq!(newcomer.count_attempts(corp).await, 0, "{name}");
            assert_eq!(newcomer.count_kept(corp).await, 0, "{name}");
            return;
        }
        Step::Finish | Step::FinishAndForget => newcomer.provider.log_in(&begun.expect(name)),
    };
    let refused = corp.finish(&state).await.expect_err(name);
    let may_come_again = matches!(case.step, Step::Finish);
    let code = match may_come_again {
        true => Code::Unavailable,
        false => Code::FailedPrecondition,
    };
    assert_in_words(name, &refused, code, case.words);
    let left = i64::from(may_come_again);
    assert_eq!(newcomer.count_attempts(corp).await, left, "{name}");
    assert_eq!(newcomer.count_kept(corp).await, 0, "{name}");
    if case.is_remembered {
        return;
    }
    // The provider is well again: the same answer is taken where it was not judged, and the login goes well in any case.
    newcomer.provider.change(ProviderBehaviour::heal);
    let finished = match may_come_again {
        true => corp.finish(&state).await,
        false => {
            let gone = corp.finish(&state).await.expect_err(name);
            assert_eq!(gone.code(), Code::NotFound, "{name}: {gone}");
            newcomer.prove(corp).await
        }
    };
    let finished = finished.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(finished.state(), LoginAttemptState::Identified, "{name}");
}

async fn login_by_a_hostile_provider_fails_in_words_and_costs_nothing_else(corp: TestCorp) {
    let secret = corp.sign_in("laptop").await;
    let before = corp.user().await;
    let cases = faults_of_endpoints().into_iter().chain(lies());
    let (count, corp) = (AtomicU32::new(0), &corp);
    let failed = stream::iter(cases)
        .map(|case| async {
            count.fetch_add(1, Ordering::Relaxed);
            let tried = AssertUnwindSafe(try_case(corp, case)).catch_unwind();
            tried.await.err()
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(async |failed| failed);
    // All of them say what they found, not the first alone.
    assert_eq!(failed.count().await, 0, "of {count:?}");
    corp.find(&secret).await.unwrap();
    let after = corp.user().await;
    assert_eq!((after.suspended, after.groups), (false, before.groups));
}

async fn what_a_browser_brings_is_not_believed_either(corp: TestCorp) {
    let newcomer = Newcomer::come(&corp, "Browser").await;
    let issuer = newcomer.provider.issuer().to_owned();
    let answer = |state: &str| FinishOidcLoginRequest {
        state: state.to_owned(),
        browser: vec![7; 32],
        code: "code".to_owned(),
        ..FinishOidcLoginRequest::default()
    };
    let begin = async || {
        let url = newcomer.begin(&corp).await.unwrap();
        answer(&newcomer.provider.log_in(&url))
    };
    // What nobody waits for, or another browser does, leaves the attempt as it is.
    let right = begin().await;
    for wrong in [
        answer(""),
        answer("x"),
        answer(&"x".repeat(100_000)),
        answer("' OR 1=1 --"),
        FinishOidcLoginRequest {
            browser: vec![8; 32],
            ..right.clone()
        },
    ] {
        let refused = corp.finish_with(wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{refused}");
    }
    let with_issuer = FinishOidcLoginRequest {
        issuer: issuer.clone(),
        ..right
    };
    corp.finish_with(with_issuer.clone()).await.unwrap();
    let again = corp.finish_with(with_issuer).await.unwrap_err();
    assert!(again.message().contains("used already"), "{again}");

    let long = "x".repeat(100_000);
    let without_code = |error: &str, description: &str| FinishOidcLoginRequest {
        code: String::new(),
        error: error.to_owned(),
        error_description: description.to_owned(),
        ..FinishOidcLoginRequest::default()
    };
    let of_issuer = |issuer: &str| FinishOidcLoginRequest {
        code: "code".to_owned(),
        issuer: issuer.to_owned(),
        ..FinishOidcLoginRequest::default()
    };
    for (wrong, words) in [
        (without_code("access_denied", "no"), "cancelled"),
        (without_code("", ""), "without an answer"),
        (without_code("server_error", ""), "refuses: server_error"),
        (without_code("x", &long), "refuses: xxx"),
        (of_issuer("https://evil.example"), "evil.example"),
        (of_issuer(&long), "the answer comes from"),
        (of_issuer(&format!("{issuer}/")), "the answer comes from"),
    ] {
        let right = begin().await;
        let before = newcomer.count_attempts(&corp).await;
        let wrong = FinishOidcLoginRequest {
            state: right.state,
            browser: right.browser,
            ..wrong
        };
        let refused = corp.finish_with(wrong).await.unwrap_err();
        assert_in_words(words, &refused, Code::FailedPrecondition, words);
        assert_eq!(newcomer.count_attempts(&corp).await, before - 1, "{words}");
    }
}

async fn crowd_at_a_provider_that_is_down_asks_it_once(corp: TestCorp) {
    let newcomer = Newcomer::come(&corp, "Crowd").await;
    let provider = &newcomer.provider;
    let put = |fault| {
        provider.change(|behaviour| {
            behaviour.faults.insert(DISCOVERY.to_owned(), fault);
        });
    };
    put(Fault::Hold);
    let corp = Arc::new(corp);
    let crowd = join_all((0..30).map(|_| async {
        let request = BeginLoginAttemptRequest {
            login_id: newcomer.login.clone(),
            connection_id: newcomer.connection.id,
            browser: vec![7; 32],
            callback_url: "https://bowline.example.com/login/callback".to_owned(),
            ..BeginLoginAttemptRequest::default()
        };
        corp.attempts().begin_login_attempt(request).await
    }));
    let fail = async {
        let deadline = Instant::now() + PATIENCE;
        while provider.count_requests(DISCOVERY) == 0 {
            assert!(Instant::now() < deadline, "the provider is not asked");
            sleep(Duration::from_millis(20)).await;
        }
        put(Fault::Status(500));
        provider.release();
    };
    let (answers, ()) = tokio::join!(crowd, fail);
    for answer in answers {
        let refused = answer.unwrap_err();
        assert_in_words("crowd", &refused, Code::Unavailable, "status 500");
    }
    assert_eq!(provider.count_requests(DISCOVERY), 1);
    // It is back: whoever tries on gets in after seconds, and tries cost the provider nothing.
    provider.change(ProviderBehaviour::heal);
    let deadline = Instant::now() + PATIENCE;
    while newcomer.begin(&corp).await.is_err() {
        assert!(Instant::now() < deadline, "the provider is not found");
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(provider.count_requests(DISCOVERY), 2);
}

async fn key_that_a_provider_rolls_is_found(corp: TestCorp) {
    let newcomer = Newcomer::come(&corp, "Rolling").await;
    let provider = &newcomer.provider;
    newcomer.prove(&corp).await.unwrap();
    provider.change(|behaviour| {
        behaviour.published_keys = vec![2];
        behaviour.signing_key = 2;
    });
    let deadline = Instant::now() + PATIENCE;
    // Keys are fetched again at most every few seconds, however many tokens name one that is not known.
    while let Err(error) = newcomer.prove(&corp).await {
        assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
        assert!(Instant::now() < deadline, "{error}");
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(provider.count_requests("/jwks"), 2);
    // What it signs with a key that it took back is not believed.
    provider.change(|behaviour| behaviour.signing_key = 1);
    let refused = newcomer.prove(&corp).await.unwrap_err();
    assert!(refused.message().contains("ID token"), "{refused}");
}

/// Lets a provider be asked about its person, and waits until that is done with.
async fn refresh(corp: &TestCorp, newcomer: &Newcomer) {
    let request = RefreshConnectionRequest {
        tailnet_id: corp.tailnet.id,
        connection_id: newcomer.connection.id,
    };
    let mut client = ConnectionServiceClient::new(corp.identity.admin());
    let asked = newcomer.provider.count_requests(TOKEN);
    let deadline = Instant::now() + PATIENCE;
    while newcomer.provider.count_requests(TOKEN) == asked {
        assert!(Instant::now() < deadline, "the provider is not asked");
        client.refresh_connection(request).await.unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    // Whoever is asked about is taken for two minutes; an answer of any kind puts that off further.
    let later = chrono::Utc::now() + chrono::TimeDelta::minutes(3);
    let id = newcomer.connection.id;
    let of = format!(
        "connection_id = {id} AND due_at > {}",
        later.timestamp_micros()
    );
    while corp.identity.count_rows_of("provider_refreshes", &of).await == 0 {
        assert!(Instant::now() < deadline, "nothing becomes of it");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn refresh_by_a_hostile_provider_changes_nothing(corp: TestCorp) {
    let secret = corp.sign_in("laptop").await;
    let of_tokens = faults(TOKEN).into_iter().map(|fault| (TOKEN, fault));
    let of_people = faults(PERSON).into_iter().map(|fault| (PERSON, fault));
    let (corp, all) = (&corp, of_tokens.chain(of_people));
    let tried = stream::iter(all).for_each_concurrent(AT_ONCE, async |(path, (name, fault, _))| {
        let newcomer = Newcomer::come(corp, &format!("{path} {name}")).await;
        newcomer.prove(corp).await.unwrap();
        newcomer.provider.change(|behaviour| {
            let_person_be_asked_for(behaviour);
            behaviour.faults.insert(path.to_owned(), fault);
        });
        refresh(corp, &newcomer).await;
        assert_eq!(newcomer.count_kept(corp).await, 3, "{path} {name}");
        // It is well again, and still has the token that it gave last.
        newcomer.provider.change(ProviderBehaviour::heal);
        refresh(corp, &newcomer).await;
        let of = format!(
            "connection_id = {} AND asked_at = 0",
            newcomer.connection.id
        );
        let answered = corp.identity.count_rows_of("provider_refreshes", &of).await;
        assert_eq!(answered, 1, "{path} {name}");
        newcomer.leave(corp).await;
    });
    tried.await;
    corp.find(&secret).await.unwrap();
    let user = corp.user().await;
    assert_eq!(
        (user.suspended, &user.groups[..]),
        (false, &["dev".to_owned()][..])
    );
    let refused = corp.identity.audited_details("user.refuse").await;
    assert!(refused.is_empty(), "{refused:?}");
}

async fn logout_ends_here_whatever_the_provider_does(corp: TestCorp) {
    for fault in [Fault::Status(500), Fault::Hang, Fault::Endless] {
        let secret = corp.sign_in("laptop").await;
        corp.provider.change(|behaviour| {
            behaviour.faults.insert(DISCOVERY.to_owned(), fault.clone());
        });
        // A process that knows nothing of the provider yet.
        let replica = corp.identity.start_replica_as(hurried()).await;
        let gateway = channel(&replica, Caller::Service(ServiceName::NetmapGateway));
        let request = CloseSessionRequest {
            secret: secret.clone(),
            callback_url: "https://bowline.example.com/login/callback".to_owned(),
        };
        let mut sessions = SessionServiceClient::new(gateway);
        let closed = sessions.close_session(request).await.unwrap().into_inner();
        assert_eq!(closed.provider_url, "", "{fault:?}");
        corp.assert_ended(&secret).await;
    }
}
