//! Conditions on a login: what the provider is asked for, whether its answer meets them, and once more when it does not.

use bowline_db::{DatabaseError, Mutation};
use bowline_proto::identity::v1::{
    BeginLoginAttemptRequest, BeginLoginAttemptResponse, Connection, Login, LoginAttempt,
    LoginPurpose, LoginState, StepUpLoginAttemptRequest, User, connection::Provider,
};
use chrono::{DateTime, Utc};
use sqlx::AnyConnection;

use super::{LoginAttempts, NOT_KNOWN, ProviderWay};
use crate::{
    conditions::read_memberships,
    domain::{
        attempt::AttemptStep,
        condition::{
            AskedProof, ConditionVerdict, ConditionedLogin, LoginProof, ProofKind, applying,
            ask_for, judge,
        },
        login,
        person::{Person, refused},
        ssh::{find_mismatch, own_condition},
    },
    error::{AWAITS_APPROVAL, IdentityError},
    fields::read_tailnet_id,
    logins::{LoginDecision, decide_and_audit},
    person::{IdentifiedPerson, identify_user},
    provider_logins::end_suspension,
    store::{
        self,
        attempts::AttemptRow,
        connections::{ProviderSubject, StoredConnection},
    },
};

/// What becomes of an attempt whose person is known.
enum Identification {
    /// The person sees the device next.
    Identified,
    /// The provider is to be asked for more.
    NeedsMore(AskedProof),
    /// The person waits for an administrator, and the device was told so.
    Waiting(Option<Box<Login>>),
    Refused(IdentityError),
}

/// An outcome for which nothing is written.
struct Undone(Identification);

impl From<IdentityError> for Undone {
    fn from(error: IdentityError) -> Self {
        Self(Identification::Refused(error))
    }
}

impl From<DatabaseError> for Undone {
    fn from(error: DatabaseError) -> Self {
        IdentityError::from(error).into()
    }
}

fn kind_of(connection: &Connection) -> ProofKind {
    match connection.provider {
        Some(Provider::Saml(_)) => ProofKind::Saml,
        Some(Provider::Local(_)) => ProofKind::Local,
        _ => ProofKind::Oidc,
    }
}

impl LoginAttempts {
    /// Returns what the provider is asked for at first, before anybody knows who the person is.
    pub(super) async fn ask_at_first(
        &self,
        connection: &Connection,
        login: &Login,
    ) -> Result<AskedProof, IdentityError> {
        let reader = self.log.database().reader();
        let mut conditions =
            store::conditions::list_conditions(reader, connection.tailnet_id).await?;
        conditions.extend(own_condition(login));
        let device = login.device.clone().unwrap_or_default();
        let login = ConditionedLogin {
            purpose: login.purpose(),
            device: &device,
            connection_id: connection.id,
            kind: kind_of(connection),
        };
        Ok(ask_for(&applying(&conditions, &login, None), login.kind))
    }

    /// Returns the way to a provider and back, with what it is asked for.
    pub(super) async fn find_way(
        &self,
        row: &StoredConnection,
        request: &BeginLoginAttemptRequest,
        id: &str,
        asked: &AskedProof,
    ) -> Result<ProviderWay, IdentityError> {
        match &row.connection.provider {
            Some(Provider::Oidc(oidc)) => self.begin_oidc(row, oidc, request, id, asked).await,
            Some(Provider::Saml(_)) => self.begin_saml(&row.connection, request, id, asked).await,
            Some(Provider::Local(_)) => self.begin_passkey(request, id),
            None => Err(IdentityError::NotFound("provider of the connection")),
        }
    }

    /// Finds, links or makes the user of a person who meets the conditions, once for each attempt. Where more can be asked of
    /// the provider, the attempt waits for that, and nobody is made.
    pub(super) async fn identify_attempt(
        &self,
        attempt: &AttemptRow,
        from: AttemptStep,
        connection: Connection,
        person: Person,
        proof: LoginProof,
    ) -> Result<LoginAttempt, IdentityError> {
        let tailnet = read_tailnet_id(attempt.tailnet_id)?;
        let actor = format!("connection:{}", connection.name);
        let found = attempt.clone();
        let identified = self.log.mutate(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let subject = ProviderSubject {
                    connection_id: connection.id,
                    issuer: &person.issuer,
                    subject: &person.subject,
                };
                let on = mutation.connection();
                let known = store::connections::find_linked_user(on, subject).await?;
                let (user, waits) = match identify_user(mutation, &connection, &person).await? {
                    IdentifiedPerson::User(user) => (user, false),
                    IdentifiedPerson::Waiting(user) => (user, true),
                    IdentifiedPerson::Refused(refusal) => {
                        return Ok(Identification::Refused(refusal));
                    }
                };
                let user_id = user.id;
                let back = (user.suspended && !waits).then(|| user.clone());
                match judge_attempt(mutation, &found, &connection, *user, &proof).await? {
                    Identification::Identified => {}
                    // What the provider says of groups is kept; nobody is made who does not get in.
                    other if known.is_some() => return Ok(other),
                    other => return Err(Undone(other)),
                }
                if waits {
                    return Ok(Identification::Waiting(
                        tell_device(mutation, &found).await?,
                    ));
                }
                if let Some(user) = back {
                    // Only who was suspended by this connection comes so far.
                    end_suspension(mutation, *user).await?;
                }
                let on = mutation.connection();
                let to = AttemptStep::Identified;
                match store::attempts::move_attempt(on, &found.id, from, to, user_id).await? {
                    true => Ok(Identification::Identified),
                    false => Err(NOT_KNOWN.into()),
                }
            })
        });
        let outcome = match identified.await {
            Ok((outcome, _)) | Err(Undone(outcome)) => outcome,
        };
        match outcome {
            Identification::Identified => {}
            Identification::NeedsMore(asked) => self.need_more(attempt, from, &asked).await?,
            Identification::Waiting(login) => {
                if let Some(login) = login {
                    self.logins.announce_decision(&login);
                }
                return Err(IdentityError::AwaitsApproval);
            }
            Identification::Refused(error) => return Err(error),
        }
        self.describe_attempt(&attempt.id).await
    }

    async fn need_more(
        &self,
        attempt: &AttemptRow,
        from: AttemptStep,
        asked: &AskedProof,
    ) -> Result<(), IdentityError> {
        let id = attempt.id.clone();
        let asked = serde_json::json!(asked).to_string();
        let moved = self.log.database().write(|write| {
            Box::pin(async move {
                let on = write.connection();
                Ok::<_, IdentityError>(store::attempts::need_more(on, &id, from, &asked).await?)
            })
        });
        match moved.await? {
            true => Ok(()),
            false => Err(NOT_KNOWN),
        }
    }

    /// Sends the browser to the provider once more, for what was missing.
    pub(crate) async fn step_up(
        &self,
        request: StepUpLoginAttemptRequest,
    ) -> Result<BeginLoginAttemptResponse, IdentityError> {
        let reader = self.log.database().reader();
        let found = store::attempts::find_attempt(reader, &request.attempt_id).await?;
        let attempt = self.check_own(found, &request.browser).await?;
        let (AttemptStep::NeedsMore, Some(asked)) = (attempt.step, &attempt.asked) else {
            return Err(refused("This login goes on already."));
        };
        let asked: AskedProof = serde_json::from_str(asked).unwrap_or_default();
        let row = store::connections::find_connection(reader, attempt.connection_id).await?;
        let row = row.ok_or(NOT_KNOWN)?;
        let again = BeginLoginAttemptRequest {
            login_id: attempt.login_id.clone(),
            connection_id: attempt.connection_id,
            browser: request.browser,
            callback_url: request.callback_url,
            origin: request.origin,
            session_secret: String::new(),
        };
        let way = self.find_way(&row, &again, &attempt.id, &asked).await?;
        let sent = AttemptRow {
            state_hash: way.state_hash,
            callback_url: way.callback_url,
            sealed: way.sealed,
            ..attempt
        };
        let id = sent.id.clone();
        let moved = self.log.database().write(|write| {
            Box::pin(async move {
                let on = write.connection();
                Ok::<_, IdentityError>(store::attempts::send_again(on, &sent).await?)
            })
        });
        match moved.await? {
            true => Ok(BeginLoginAttemptResponse {
                attempt_id: id,
                redirect_url: way.redirect_url,
                post_fields: way.post_fields,
                passkey_options: way.passkey_options,
            }),
            false => Err(refused("This login goes on already.")),
        }
    }
}

/// Ends the login of a device whose person waits for approval, so that the device says why it is not in.
async fn tell_device(
    mutation: &mut Mutation,
    attempt: &AttemptRow,
) -> Result<Option<Box<Login>>, IdentityError> {
    let now = mutation.now();
    let found = store::logins::find_login(mutation.connection(), &attempt.login_id).await?;
    let login = login::with_state_at(found.ok_or(NOT_KNOWN)?, now);
    // A browser has the page that says so.
    let waits = matches!(
        login.purpose(),
        LoginPurpose::Unspecified | LoginPurpose::Program
    );
    if !waits || login.state() != LoginState::Pending {
        return Ok(None);
    }
    let reason = AWAITS_APPROVAL.to_owned();
    let decision = LoginDecision::Deny { reason };
    let login = decide_and_audit(mutation, login.id, decision).await?;
    Ok(Some(Box::new(login)))
}

/// A login whose person is known, to be judged.
pub(super) struct KnownLogin<'a> {
    pub(super) tailnet_id: u64,
    pub(super) login_id: &'a str,
    pub(super) connection_id: u64,
    pub(super) has_stepped_up: bool,
}

/// Judges a login under the conditions of its tailnet.
pub(super) async fn judge_login(
    on: &mut AnyConnection,
    now: DateTime<Utc>,
    known: &KnownLogin<'_>,
    mut user: User,
    proof: &LoginProof,
) -> Result<ConditionVerdict, IdentityError> {
    let login = store::logins::find_login(&mut *on, known.login_id).await?;
    let login = login.ok_or(NOT_KNOWN)?;
    if let Some(words) = find_mismatch(&login, &user) {
        return Ok(ConditionVerdict::Refused(words.to_owned()));
    }
    let mut conditions = store::conditions::list_conditions(&mut *on, known.tailnet_id).await?;
    conditions.extend(own_condition(&login));
    if conditions.is_empty() {
        return Ok(ConditionVerdict::Met);
    }
    user.memberships = read_memberships(on, user.id).await?;
    let device = login.device.clone().unwrap_or_default();
    let login = ConditionedLogin {
        purpose: login.purpose(),
        device: &device,
        connection_id: known.connection_id,
        kind: proof.kind,
    };
    let applying = applying(&conditions, &login, Some(&user));
    Ok(judge(&applying, &login, proof, known.has_stepped_up, now))
}

async fn judge_attempt(
    mutation: &mut Mutation,
    attempt: &AttemptRow,
    connection: &Connection,
    user: User,
    proof: &LoginProof,
) -> Result<Identification, IdentityError> {
    let known = KnownLogin {
        tailnet_id: attempt.tailnet_id,
        login_id: &attempt.login_id,
        connection_id: connection.id,
        has_stepped_up: attempt.asked.is_some(),
    };
    let now = mutation.now();
    let verdict = judge_login(mutation.connection(), now, &known, user, proof).await?;
    Ok(match verdict {
        ConditionVerdict::Met => Identification::Identified,
        ConditionVerdict::StepUp(asked) => Identification::NeedsMore(asked),
        ConditionVerdict::Refused(words) => Identification::Refused(refused(&words)),
    })
}
