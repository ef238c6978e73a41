//! Conditions that logins must meet: kept by administrators.

use bowline_db::{ChangeLog, next_id};
use bowline_ids::TailnetId;
use bowline_proto::{
    identity::v1::{
        AddConditionResponse, AppliedCondition, Condition, Device, LoginPurpose, Membership, User,
    },
    time::to_timestamp,
};
use chrono::{DateTime, Utc};
use sqlx::AnyConnection;

use crate::{
    domain::condition::{
        ConditionVerdict, ConditionedLogin, LoginProof, ProofKind, applying, describe_condition,
        describe_occasion, judge, may_administer, normalize_condition,
    },
    error::IdentityError,
    store,
};

/// The most conditions of a tailnet.
const MOST_OF_TAILNET: usize = 200;

/// Keeps the conditions. Clones share it.
#[derive(Clone, Debug)]
pub struct Conditions {
    log: ChangeLog,
}

impl Conditions {
    pub(crate) fn new(log: ChangeLog) -> Self {
        Self { log }
    }

    /// Adds a condition.
    pub(crate) async fn add_condition(
        &self,
        tailnet: TailnetId,
        actor: String,
        mut wanted: Condition,
    ) -> Result<AddConditionResponse, IdentityError> {
        normalize_condition(&mut wanted)?;
        let added = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let (now, on) = (mutation.now(), mutation.connection());
                let found = store::find_tailnet(&mut *on, tailnet.get()).await?;
                found.ok_or(IdentityError::NotFound("tailnet"))?;
                let others = store::conditions::list_conditions(&mut *on, tailnet.get()).await?;
                if others.len() >= MOST_OF_TAILNET {
                    return Err(IdentityError::Refused(
                        "the tailnet has 200 conditions: remove one first",
                    ));
                }
                if wanted.connection_id != 0 {
                    let found =
                        store::connections::find_connection(&mut *on, wanted.connection_id).await?;
                    let own = found.filter(|row| row.connection.tailnet_id == tailnet.get());
                    own.ok_or(IdentityError::NotFound("connection"))?;
                }
                wanted.group_id = 0;
                if !wanted.group.is_empty() {
                    let named =
                        store::groups::find_group_named(on, tailnet.get(), &wanted.group).await?;
                    wanted.group_id = named.ok_or(IdentityError::NotFound("group"))?.id;
                }
                wanted.id = next_id(on).await?.cast_unsigned();
                wanted.created_at = Some(to_timestamp(now));
                store::conditions::insert_condition(on, &wanted).await?;
                let detail = describe_condition(&wanted);
                mutation.record_audit("condition.add", wanted.id.to_string(), &detail);
                Ok::<_, IdentityError>(AddConditionResponse {
                    condition: Some(wanted),
                })
            })
        });
        Ok(added.await?.0)
    }

    /// Returns the conditions of a tailnet.
    pub(crate) async fn list_conditions(
        &self,
        tailnet: TailnetId,
    ) -> Result<Vec<Condition>, IdentityError> {
        let mut on = self.log.database().reader().acquire().await?;
        let mut conditions = store::conditions::list_conditions(&mut *on, tailnet.get()).await?;
        for condition in &mut conditions {
            if condition.group_id != 0 {
                let group = store::groups::find_group(&mut on, tailnet.get(), condition.group_id);
                if let Some(group) = group.await? {
                    condition.group = group.name;
                }
            }
        }
        Ok(conditions)
    }

    /// Removes a condition.
    pub(crate) async fn remove_condition(
        &self,
        tailnet: TailnetId,
        actor: String,
        id: u64,
    ) -> Result<(), IdentityError> {
        let removed = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let on = mutation.connection();
                let all = store::conditions::list_conditions(&mut *on, tailnet.get()).await?;
                let gone = all.into_iter().find(|condition| condition.id == id);
                let gone = gone.ok_or(IdentityError::NotFound("condition"))?;
                store::conditions::delete_condition(on, id).await?;
                let detail = describe_condition(&gone);
                mutation.record_audit("condition.remove", id.to_string(), &detail);
                Ok::<_, IdentityError>(())
            })
        });
        removed.await?;
        Ok(())
    }

    /// Says which conditions apply to a user, and when.
    pub(crate) async fn explain_conditions(
        &self,
        tailnet: TailnetId,
        user_id: u64,
    ) -> Result<Vec<AppliedCondition>, IdentityError> {
        let mut on = self.log.database().reader().acquire().await?;
        let user = store::find_user(&mut *on, tailnet.get(), user_id).await?;
        let mut user = user.ok_or(IdentityError::NotFound("user"))?;
        user.memberships = read_memberships(&mut on, user_id).await?;
        drop(on);
        let conditions = self.list_conditions(tailnet).await?.into_iter();
        let applied = conditions.filter_map(|condition| {
            let occasion = describe_occasion(&condition, &user)?;
            Some(AppliedCondition {
                condition: Some(condition),
                occasion,
            })
        });
        Ok(applied.collect())
    }
}

/// Says whether a link, which proves only that somebody was given it, is less than the conditions of a tailnet ask of a user who
/// administers. A session that it opens acts as a member's then.
pub(crate) async fn is_link_too_little(
    on: &mut AnyConnection,
    user: &User,
    source_address: &str,
    now: DateTime<Utc>,
) -> Result<bool, IdentityError> {
    if !may_administer(user) {
        return Ok(false);
    }
    let conditions = store::conditions::list_conditions(&mut *on, user.tailnet_id).await?;
    let mut user = user.clone();
    user.memberships = read_memberships(on, user.id).await?;
    let device = Device {
        source_address: source_address.to_owned(),
        ..Device::default()
    };
    let login = ConditionedLogin {
        purpose: LoginPurpose::Session,
        device: &device,
        connection_id: 0,
        kind: ProofKind::Local,
    };
    let proof = LoginProof::of_invitation(now);
    let applying = applying(&conditions, &login, Some(&user));
    Ok(judge(&applying, &login, &proof, true, now) != ConditionVerdict::Met)
}

/// Returns the groups that a user is in now.
pub(crate) async fn read_memberships(
    on: &mut AnyConnection,
    user_id: u64,
) -> Result<Vec<Membership>, IdentityError> {
    let named = store::groups::list_memberships(on, user_id).await?;
    Ok(named
        .into_iter()
        .map(|(membership, _)| membership)
        .collect())
}
