//! Attempts to log in end after ten minutes, at whatever step they stand.

use std::{sync::Arc, time::Duration};

use bowline_clock::{Clock as _, ManualClock, SystemClock};
use bowline_proto::identity::v1::{
    AddConditionRequest, BeginLoginAttemptRequest, BeginLoginAttemptResponse, Condition,
    ConditionScope, Connection, CreateConnectionRequest, DecideLoginAttemptRequest,
    FinishPasskeyLoginRequest, FinishSamlLoginRequest, GetLoginAttemptRequest, LocalProvider,
    LoginAttempt, LoginAttemptState, OpenSessionRequest, RemoveConditionRequest, SamlProvider,
    StepUpLoginAttemptRequest, TakeSamlResponseRequest,
    condition_service_client::ConditionServiceClient, connection::Provider,
    connection_service_client::ConnectionServiceClient,
};
use bowline_saml::{SigningKey, SigningKeyKind};
use bowline_test_servers::{TestDatabase, on_both};
use chrono::TimeDelta;
use tokio::time::{Instant, sleep};
use tonic::{Code, Response, Status};

use crate::{
    identity::{TestBase, TestIdentity},
    provider_logins::TestCorp,
};

on_both!(TimedCorp::start => each_step_is_refused_after_ten_minutes);

const ORIGIN: &str = "https://bowline.example.com";
/// How long what happens in the background may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A tailnet whose people log in, and the time that counts.
struct TimedCorp {
    corp: TestCorp,
    clock: Arc<ManualClock>,
}

/// An attempt at each step.
struct Attempts {
    /// The state that a browser brings back from an OpenID Connect provider.
    sent: String,
    needs_more: LoginAttempt,
    device: LoginAttempt,
    session: LoginAttempt,
    /// The relay state that a browser brings back from a SAML provider, and the attempt.
    saml: (String, String),
    /// The attempt of which a passkey is asked.
    passkey: String,
}

impl TimedCorp {
    async fn start(database: TestDatabase) -> Self {
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let base = TestBase {
            clock: Some(Arc::clone(&clock)),
            ..TestBase::default()
        };
        let identity = TestIdentity::start_as(database, base).await;
        let corp = Box::pin(TestCorp::start_with(identity)).await;
        Self { corp, clock }
    }

    /// Starts a login of a device.
    async fn start_device(&self, key: u32) -> String {
        let network = format!("10.0.{key}.1");
        let login = self.corp.identity.start_login_from(key, &network).await;
        login.unwrap().id
    }

    async fn begin(
        &self,
        login_id: String,
        connection_id: u64,
    ) -> Result<BeginLoginAttemptResponse, Status> {
        let request = BeginLoginAttemptRequest {
            login_id,
            connection_id,
            browser: vec![7; 32],
            callback_url: format!("{ORIGIN}/login/callback"),
            origin: ORIGIN.to_owned(),
            session_secret: String::new(),
        };
        let begun = self.corp.attempts().begin_login_attempt(request).await?;
        Ok(begun.into_inner())
    }

    async fn connect(&self, name: &str, provider: Provider, saml_metadata: Vec<u8>) -> u64 {
        let request = CreateConnectionRequest {
            connection: Some(Connection {
                tailnet_id: self.corp.tailnet.id,
                name: name.to_owned(),
                provider: Some(provider),
                ..Connection::default()
            }),
            saml_metadata,
            ..CreateConnectionRequest::default()
        };
        let mut client = ConnectionServiceClient::new(self.corp.identity.admin());
        let made = client.create_connection(request).await.unwrap();
        made.into_inner().connection.unwrap().id
    }

    /// Logs in under a condition that the provider's answer does not meet.
    async fn need_more(&self) -> LoginAttempt {
        let tailnet_id = self.corp.tailnet.id;
        let mut conditions = ConditionServiceClient::new(self.corp.identity.admin());
        let request = AddConditionRequest {
            condition: Some(Condition {
                tailnet_id,
                scope: ConditionScope::Everyone.into(),
                acr: vec!["mfa".to_owned()],
                ..Condition::default()
            }),
        };
        let added = conditions.add_condition(request).await.unwrap();
        let condition_id = added.into_inner().condition.unwrap().id;
        let login = self.start_device(1).await;
        let attempt = self.corp.prove(&login, &self.corp.connection).await;
        let request = RemoveConditionRequest {
            tailnet_id,
            condition_id,
        };
        conditions.remove_condition(request).await.unwrap();
        let attempt = attempt.unwrap();
        assert_eq!(attempt.state(), LoginAttemptState::NeedsMore);
        attempt
    }

    async fn begin_by_saml(&self) -> (String, String) {
        let saml = Provider::Saml(SamlProvider::default());
        let id = self.connect("SAML", saml, metadata()).await;
        let begun = self.begin(self.start_device(2).await, id).await.unwrap();
        let url: url::Url = begun.redirect_url.parse().unwrap();
        let mut query = url.query_pairs();
        let (_, state) = query.find(|(name, _)| name == "RelayState").unwrap();
        (state.into_owned(), begun.attempt_id)
    }

    async fn begin_all(&self) -> Attempts {
        let corp = &self.corp;
        let needs_more = self.need_more().await;
        let device = self.start_device(3).await;
        let device = corp.prove(&device, &corp.connection).await.unwrap();
        let session = corp.start_session_login().await;
        let session = corp.prove(&session, &corp.connection).await.unwrap();
        let local = Provider::Local(LocalProvider {});
        let local = self.connect("Passkeys", local, Vec::new()).await;
        let passkey = self.begin(self.start_device(4).await, local).await;
        let sent = self.start_device(5).await;
        let url = corp.begin(&sent, &corp.connection).await.unwrap();
        Attempts {
            sent: corp.provider.log_in(&url),
            needs_more,
            device,
            session,
            saml: self.begin_by_saml().await,
            passkey: passkey.unwrap().attempt_id,
        }
    }

    async fn find(&self, attempt: &LoginAttempt) -> Result<(), Status> {
        let request = GetLoginAttemptRequest {
            attempt_id: attempt.id.clone(),
            browser: vec![7; 32],
        };
        empty(self.corp.attempts().get_login_attempt(request).await)
    }

    async fn decide(&self, attempt: &LoginAttempt, approve: bool) -> Result<(), Status> {
        let request = DecideLoginAttemptRequest {
            attempt_id: attempt.id.clone(),
            browser: vec![7; 32],
            approve,
        };
        empty(self.corp.attempts().decide_login_attempt(request).await)
    }

    async fn step_up(&self, attempt: &LoginAttempt) -> Result<(), Status> {
        let request = StepUpLoginAttemptRequest {
            attempt_id: attempt.id.clone(),
            browser: vec![7; 32],
            callback_url: format!("{ORIGIN}/login/callback"),
            origin: ORIGIN.to_owned(),
        };
        empty(self.corp.attempts().step_up_login_attempt(request).await)
    }

    async fn open_session(&self, attempt: &LoginAttempt) -> Result<(), Status> {
        let request = OpenSessionRequest {
            attempt_id: attempt.id.clone(),
            browser: vec![7; 32],
            description: None,
        };
        empty(self.corp.sessions().open_session(request).await)
    }

    async fn take_saml(&self, relay_state: &str) -> Result<(), Status> {
        let request = TakeSamlResponseRequest {
            relay_state: relay_state.to_owned(),
            saml_response: "PHg+".to_owned(),
            ..TakeSamlResponseRequest::default()
        };
        empty(self.corp.attempts().take_saml_response(request).await)
    }

    async fn finish_saml(&self, attempt_id: &str) -> Result<(), Status> {
        let request = FinishSamlLoginRequest {
            attempt_id: attempt_id.to_owned(),
            browser: vec![7; 32],
        };
        empty(self.corp.attempts().finish_saml_login(request).await)
    }

    async fn finish_passkey(&self, attempt_id: &str) -> Result<(), Status> {
        let request = FinishPasskeyLoginRequest {
            attempt_id: attempt_id.to_owned(),
            browser: vec![7; 32],
            origin: ORIGIN.to_owned(),
            response: "{}".to_owned(),
        };
        empty(self.corp.attempts().finish_passkey_login(request).await)
    }
}

fn empty<T>(answer: Result<Response<T>, Status>) -> Result<(), Status> {
    answer.map(drop)
}

/// Returns what a SAML provider publishes.
fn metadata() -> Vec<u8> {
    let today = SystemClock.now().date_naive();
    let key = SigningKey::generate(SigningKeyKind::P256, "idp.example.com", today, 365).unwrap();
    let certificate = key.certificate().to_base64();
    format!(
        r#"<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" xmlns:ds="http://www.w3.org/2000/09/xmldsig#" entityID="https://idp.example.com/saml">
<md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
<md:KeyDescriptor use="signing"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>
<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.example.com/sso"/>
</md:IDPSSODescriptor></md:EntityDescriptor>"#
    )
    .into_bytes()
}

async fn each_step_is_refused_after_ten_minutes(timed: TimedCorp) {
    let attempts = timed.begin_all().await;
    let corp = &timed.corp;
    // A second before, what can be looked at without a change is there.
    timed.clock.advance(TimeDelta::seconds(599));
    for attempt in [&attempts.device, &attempts.session, &attempts.needs_more] {
        timed.find(attempt).await.unwrap();
    }
    let asked = corp.provider.count_requests("/token");
    let audited = corp.identity.count_rows("audit").await;
    timed.clock.advance(TimeDelta::seconds(1));
    let Attempts {
        sent,
        needs_more,
        device,
        session,
        saml: (relay_state, saml),
        passkey,
    } = &attempts;
    for (step, answer) in [
        ("finish", corp.finish(sent).await.map(drop)),
        ("step up", timed.step_up(needs_more).await),
        ("view", timed.find(device).await),
        ("approve", timed.decide(device, true).await),
        ("deny", timed.decide(device, false).await),
        ("open a session", timed.open_session(session).await),
        ("finish by SAML", timed.finish_saml(saml).await),
        ("finish by a passkey", timed.finish_passkey(passkey).await),
    ] {
        let refused = answer.expect_err(step);
        assert_eq!(refused.code(), Code::NotFound, "{step}: {refused}");
        assert_eq!(
            refused.message(),
            "there is no such login attempt",
            "{step}"
        );
    }
    let refused = timed.take_saml(relay_state).await.unwrap_err();
    assert!(
        refused.message().contains("one that has ended"),
        "{refused}"
    );
    assert_eq!(
        corp.provider.count_requests("/token"),
        asked,
        "no code was used"
    );
    assert_eq!(corp.identity.count_rows("audit").await, audited);

    // A process sweeps when it starts, and each minute. An attempt stays until its time is over.
    assert_eq!(corp.identity.count_rows("login_attempts").await, 6);
    timed.clock.advance(TimeDelta::seconds(1));
    let base = TestBase {
        clock: Some(Arc::clone(&timed.clock)),
        ..TestBase::default()
    };
    corp.identity.start_replica_as(base).await;
    let deadline = Instant::now() + PATIENCE;
    while corp.identity.count_rows("login_attempts").await > 0 {
        assert!(Instant::now() < deadline, "attempts are left over");
        sleep(Duration::from_millis(20)).await;
    }
    // The device still waits: its person begins anew.
    let login = device.login.as_ref().unwrap().id.clone();
    timed.begin(login, corp.connection.id).await.unwrap();
}
