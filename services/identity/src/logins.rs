//! Logins in flight. A device without credentials starts one, its gateway waits for the decision, and an administrator
//! decides.

mod ssh;

use std::{sync::Arc, time::Duration};

use bowline_clock::random_bytes;
use bowline_db::{ChangeLog, Mutation, WriteTransaction};
use bowline_ids::{LoginId, TailnetId};
use bowline_proto::identity::v1::{BrowserDescription, Device, Login, LoginPurpose, LoginState};
use chrono::{DateTime, Utc};
use prost::Message;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    domain::login::{
        self,
        limits::{self, SourceNetworks},
    },
    error::IdentityError,
    login_waiters::Waiters,
    pace::LoginPace,
    store,
    tailnets::require_tailnet,
    users::require_user,
};

/// How long one `WaitLogin` waits for a decision; a gateway asks again after that.
const LONGEST_WAIT: Duration = Duration::from_secs(45);
/// The most logins in one list.
const LONGEST_LIST: i64 = 1000;
/// The most logins in the list of one tailnet: anybody can begin some, and a person reads it.
const LONGEST_TAILNET_LIST: i64 = 50;

/// Starts, finds and decides logins. Clones share it.
#[derive(Clone, Debug)]
pub struct Logins {
    log: ChangeLog,
    waiters: Waiters,
    /// Limits how fast each network starts logins.
    pace: Arc<LoginPace>,
}

impl Logins {
    pub(crate) fn new(log: ChangeLog, waiters: Waiters) -> Self {
        let pace = Arc::default();
        Self { log, waiters, pace }
    }

    /// Starts a login of a device. When the device has a pending login for this node key, that one is returned: a client that
    /// lost the answer asks again.
    pub(crate) async fn start_login(
        &self,
        machine_key: Vec<u8>,
        node_key: Vec<u8>,
        device: Device,
    ) -> Result<Login, IdentityError> {
        let now = self.read_time().await?;
        let reader = self.log.database().reader();
        let most = limits::PER_MACHINE;
        let same =
            store::logins::list_pending_logins(reader, Some(&machine_key), now, most).await?;
        if let Some(same) = same.into_iter().find(|login| login.node_key == node_key) {
            return Ok(same);
        }
        let id = LoginId::from_random(random_bytes()).to_string();
        let made = login::new(id, machine_key, node_key, device, now)?;
        self.start_at_pace(made).await
    }

    /// Starts a login of a browser that wants a session, or returns the pending one that it has.
    pub(crate) async fn start_session_login(
        &self,
        browser: Vec<u8>,
        description: BrowserDescription,
    ) -> Result<Login, IdentityError> {
        let now = self.read_time().await?;
        let id = LoginId::from_random(random_bytes()).to_string();
        let made = login::new_of_browser(id, browser, description, now)?;
        self.start_at_pace(made).await
    }

    /// Inserts a new login when it is its network's turn; the pending one of the same keys where there is one.
    pub(crate) async fn start_at_pace(&self, made: Login) -> Result<Login, IdentityError> {
        let source = login::source_address(&made);
        self.pace.take_turn(source, Instant::now().into_std())?;
        self.log
            .database()
            .write(|write| Box::pin(async move { insert_login(write, made).await }))
            .await
    }

    /// Lets a network begin one more login, unless it begins too many.
    pub(crate) fn take_turn(&self, source_address: &str) -> Result<(), IdentityError> {
        self.pace
            .take_turn(source_address, Instant::now().into_std())
    }

    /// Returns a login as it is now.
    pub(crate) async fn find_login(&self, id: &str) -> Result<Login, IdentityError> {
        let now = self.read_time().await?;
        let found = store::logins::find_login(self.log.database().reader(), id).await?;
        found
            .map(|found| login::with_state_at(found, now))
            .ok_or(IdentityError::NotFound("login"))
    }

    /// Returns a login as soon as it is decided or has expired, or as it is after 45 seconds.
    pub(crate) async fn await_decision(&self, id: &str) -> Result<Login, IdentityError> {
        let deadline = Instant::now() + LONGEST_WAIT;
        // It waits before it reads: a decision between the two is announced to it.
        let mut wait = self.waiters.begin_wait(id)?;
        let now = self.read_time().await?;
        let login = self.find_login(id).await?;
        if login.state() != LoginState::Pending {
            return Ok(login);
        }
        let ends = login
            .expires_at
            .map_or(0, |end| end.seconds - now.timestamp());
        // Nothing is decided after the login has expired.
        let left = Duration::from_secs(u64::try_from(ends).unwrap_or(0));
        let end = deadline.min(Instant::now() + left);
        match wait.decided_until(end).await {
            Some(decided) => Ok(decided),
            None => self.find_login(id).await,
        }
    }

    /// Returns the logins of devices that wait for a decision.
    pub(crate) async fn list_pending(&self) -> Result<Vec<Login>, IdentityError> {
        let (now, reader) = (self.read_time().await?, self.log.database().reader());
        let mut pending =
            store::logins::list_pending_logins(reader, None, now, LONGEST_LIST).await?;
        // Nobody but the person decides about the others.
        pending.retain(|login| login.purpose() == LoginPurpose::Unspecified);
        Ok(pending)
    }

    /// Returns the newest logins of devices that are a tailnet's to decide, without what each asks for.
    pub(crate) async fn list_pending_of(
        &self,
        tailnet: TailnetId,
    ) -> Result<Vec<Login>, IdentityError> {
        let now = self.read_time().await?;
        let (name, is_only) = self.find_tailnet_name(tailnet).await?;
        let reader = self.log.database().reader();
        let most = LONGEST_TAILNET_LIST;
        let found =
            store::logins::list_logins_of_tailnet(reader, &name, is_only, now, most).await?;
        // A release that knows no purposes leaves them out of the columns.
        let mut pending: Vec<_> = found.into_iter().filter(login::is_of_device).collect();
        for device in pending.iter_mut().filter_map(|login| login.device.as_mut()) {
            // Anybody fills these, at length.
            device.requested_tags.clear();
            device.advertised_routes.clear();
        }
        Ok(pending)
    }

    /// Returns a login of a device that waits, if it is a tailnet's to decide.
    pub(crate) async fn find_pending_of(
        &self,
        tailnet: TailnetId,
        id: &str,
    ) -> Result<Option<Login>, IdentityError> {
        let (name, is_only) = self.find_tailnet_name(tailnet).await?;
        let found = match self.find_login(id).await {
            Ok(found) => found,
            Err(IdentityError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_own = match login::wanted_tailnet(&found) {
            "" => is_only,
            wanted => wanted == name,
        };
        let waits = found.state() == LoginState::Pending && login::is_of_device(&found);
        Ok((is_own && waits).then_some(found))
    }

    /// Returns the name of a tailnet, and whether there is no other.
    async fn find_tailnet_name(&self, id: TailnetId) -> Result<(String, bool), IdentityError> {
        let reader = self.log.database().reader();
        let tailnet = store::find_tailnet(reader, id.get()).await?;
        let tailnet = tailnet.ok_or(IdentityError::NotFound("tailnet"))?;
        let is_only = store::find_only_tailnet(reader).await? == Some(id.get());
        Ok((tailnet.name, is_only))
    }

    /// Approves or denies the login of a device. The audit entry is in the trail of the tailnet whose administrator decides. The same
    /// decision once more changes nothing and is not audited again. The caller tells those who wait for the login.
    pub(crate) async fn decide_login<M: Message + Default + 'static>(
        &self,
        tailnet: TailnetId,
        actor: String,
        id: String,
        decision: LoginDecision,
        answer: fn(Login) -> M,
    ) -> Result<M, IdentityError> {
        if self.find_login(&id).await?.purpose() != LoginPurpose::Unspecified {
            return Err(IdentityError::Refused(
                "no device waits for this login: only the person who logs in decides about it",
            ));
        }
        let (answer, _) = self
            .log
            .mutate_once(tailnet, actor, move |mutation| {
                Box::pin(async move {
                    let decided = decide_and_audit(mutation, id, decision).await?;
                    Ok::<_, IdentityError>(answer(decided))
                })
            })
            .await?;
        Ok(answer)
    }

    /// Tells those who wait for a login what was decided.
    pub(crate) fn announce_decision(&self, decided: &Login) {
        self.waiters.announce_decision(decided);
    }

    async fn read_time(&self) -> Result<DateTime<Utc>, IdentityError> {
        Ok(self.log.database().now().await?)
    }
}

/// What an administrator, or the person who has logged in, decides about a login.
pub(crate) enum LoginDecision {
    /// The device becomes a node of this user.
    Approve { user_id: u64 },
    /// The device is turned away.
    Deny { reason: String },
}

impl LoginDecision {
    fn audit_action(&self, purpose: LoginPurpose) -> &'static str {
        match (self, purpose) {
            (Self::Approve { .. }, LoginPurpose::SshCheck) => "ssh.check",
            (Self::Deny { .. }, LoginPurpose::SshCheck) => "ssh.deny",
            (Self::Approve { .. }, LoginPurpose::Program) => "program.approve",
            (Self::Deny { .. }, LoginPurpose::Program) => "program.deny",
            (Self::Approve { .. }, _) => "login.approve",
            (Self::Deny { .. }, _) => "login.deny",
        }
    }

    /// Checks what a decision needs apart from the login: a user in good standing, or a tailnet to audit it in. Returns what
    /// the audit entry says of it.
    async fn check_decision(
        &self,
        mutation: &mut Mutation,
    ) -> Result<serde_json::Value, IdentityError> {
        let tailnet = mutation.tailnet();
        match self {
            Self::Approve { user_id } => {
                let user = require_user(mutation.connection(), tailnet, *user_id).await?;
                if user.awaits_approval {
                    return Err(IdentityError::Refused(
                        "the user waits for approval: approve the user first",
                    ));
                }
                if user.suspended {
                    return Err(IdentityError::Refused("the user is suspended"));
                }
                Ok(json!({ "user": user.login_name }))
            }
            Self::Deny { reason } => {
                require_tailnet(mutation.connection(), tailnet).await?;
                Ok(json!({ "reason": reason }))
            }
        }
    }

    fn apply_decision(&self, tailnet: TailnetId, login: &mut Login) -> Result<(), IdentityError> {
        match self {
            Self::Approve { user_id } => login::approve_login(login, tailnet.get(), *user_id),
            Self::Deny { reason } => login::deny_login(login, reason),
        }
    }
}

/// Decides a login in a transaction, and audits it unless the same was decided before.
pub(crate) async fn decide_and_audit(
    mutation: &mut Mutation,
    id: String,
    decision: LoginDecision,
) -> Result<Login, IdentityError> {
    let mut detail = decision.check_decision(mutation).await?;
    let (decided, is_new) = decide_once(mutation, &id, &decision).await?;
    if is_new {
        ssh::note_check(mutation, &decided).await?;
        detail["device"] = login::describe_login(&decided);
        let action = decision.audit_action(decided.purpose());
        mutation.record_audit(action, id, &detail);
    }
    Ok(decided)
}

/// Approves the login of a browser, whose session is audited.
pub(crate) async fn approve_browser(
    mutation: &mut Mutation,
    id: &str,
    user_id: u64,
) -> Result<(), IdentityError> {
    let decision = LoginDecision::Approve { user_id };
    decision.check_decision(mutation).await?;
    decide_once(mutation, id, &decision).await?;
    Ok(())
}

/// Decides a login, and says whether it was this call that did: it was not when the same decision had been made before.
///
/// Administrators of two tailnets can decide at the same time, in two transactions. The row is only written while it is
/// pending, so that one of them wins; the other reads it again and finds the decision.
async fn decide_once(
    mutation: &mut Mutation,
    id: &str,
    decision: &LoginDecision,
) -> Result<(Login, bool), IdentityError> {
    let (now, tailnet) = (mutation.now(), mutation.tailnet());
    loop {
        let found = store::logins::find_login(mutation.connection(), id).await?;
        let before = login::with_state_at(found.ok_or(IdentityError::NotFound("login"))?, now);
        let mut decided = before.clone();
        decision.apply_decision(tailnet, &mut decided)?;
        if decided == before {
            return Ok((decided, false));
        }
        if store::logins::decide_login(mutation.connection(), &decided).await? {
            return Ok((decided, true));
        }
        // Somebody else has decided since it was read.
    }
}

/// Inserts a new login, unless the device has a pending one for this node key, which is returned then. Refuses when its
/// machine or network has too many. When there are too many in all, others are evicted to make room.
pub(crate) async fn insert_login(
    write: &mut WriteTransaction,
    made: Login,
) -> Result<Login, IdentityError> {
    let now = write.now();
    let on = write.connection();
    store::logins::lock_logins(on).await?;
    let key = Some(&*made.machine_key);
    let same = store::logins::list_pending_logins(&mut *on, key, now, limits::PER_MACHINE).await?;
    if let Some(same) = same.iter().find(|login| login.node_key == made.node_key) {
        return Ok(same.clone());
    }
    let source = login::source_address(&made);
    limits::check_counts(limits::PendingCounts {
        machine: i64::try_from(same.len()).unwrap_or(i64::MAX),
        networks: store::logins::count_pending_of(on, &SourceNetworks::from_address(source), now)
            .await?,
    })?;
    if store::logins::count_pending(on, now).await? >= limits::IN_ALL {
        let [unwatched, any] = limits::EvictionRule::in_turn(now);
        let mut gone = store::logins::evict_logins(on, now, &unwatched).await?;
        if gone == 0 {
            gone = store::logins::evict_logins(on, now, &any).await?;
        }
        metrics::counter!("bowline_identity_logins_let_go_total").increment(gone);
        tracing::warn!(
            gone,
            "too many logins wait: dropped logins of the networks with the most"
        );
    }
    store::logins::put_login(on, &made).await?;
    Ok(made)
}
