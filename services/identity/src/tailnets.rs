//! Tailnets and their settings, as administrators and other services see and change them.

use bowline_db::{ChangeLog, Mutation, next_id};
use bowline_ids::TailnetId;
use bowline_proto::identity::v1::{
    CreateTailnetRequest, CreateTailnetResponse, DnsChange, IdentityChange, ResolveTailnetResponse,
    Tailnet, UpdateDnsResponse, UpdateTailnetResponse, identity_change::Change,
};
use prost::Message;
use serde_json::json;
use sqlx::AnyConnection;

use crate::{
    domain::{describe_change, dns, key_policy, tailnet},
    error::IdentityError,
    fields::read_tailnet_id,
    store,
};

/// From this schema level on every process keeps and heeds key policies.
const KEY_POLICY_LEVEL: u32 = 2;
pub(crate) const NO_TAILNET: IdentityError = IdentityError::NotFound("tailnet");

/// Finds, lists and changes tailnets. Clones share it.
#[derive(Clone, Debug)]
pub struct Tailnets {
    log: ChangeLog,
}

/// How a caller names a tailnet.
#[derive(Debug)]
pub(crate) enum TailnetName {
    Id(TailnetId),
    Name(String),
}

impl Tailnets {
    pub(crate) fn new(log: ChangeLog) -> Self {
        Self { log }
    }

    /// Finds a tailnet, with the revision at which it is so.
    pub(crate) async fn resolve_tailnet(
        &self,
        name: TailnetName,
    ) -> Result<ResolveTailnetResponse, IdentityError> {
        let mut read = self.log.database().begin_read().await?;
        let tailnet = match name {
            TailnetName::Id(id) => require_tailnet(&mut read, id).await?,
            TailnetName::Name(name) => store::find_tailnet_named(&mut *read, &name)
                .await?
                .ok_or(NO_TAILNET)?,
        };
        let id = read_tailnet_id(tailnet.id)?;
        let head = self.log.head_in(&mut read, id).await?;
        Ok(ResolveTailnetResponse {
            tailnet: Some(tailnet),
            revision: head.revision.get(),
        })
    }

    /// Returns all tailnets by name, without their key policies: those of thousands would make an answer that nobody takes.
    pub(crate) async fn list_all(&self) -> Result<Vec<Tailnet>, IdentityError> {
        let mut tailnets = store::list_tailnets(self.log.database().reader()).await?;
        for tailnet in &mut tailnets {
            tailnet.key_policy = None;
        }
        Ok(tailnets)
    }

    /// Makes a tailnet.
    pub(crate) async fn create_tailnet(
        &self,
        actor: String,
        wanted: CreateTailnetRequest,
    ) -> Result<CreateTailnetResponse, IdentityError> {
        let CreateTailnetRequest { name, settings } = wanted;
        if settings
            .as_ref()
            .is_some_and(|settings| settings.key_policy.is_some())
        {
            self.require_key_policies()?;
        }
        // A mutation is a change of a tailnet, so that the tailnet has its number before.
        let id = self.log.database().write(|write| {
            Box::pin(async { Ok::<_, IdentityError>(next_id(write.connection()).await?) })
        });
        let id = read_tailnet_id(id.await?.cast_unsigned())?;
        let (answer, _) = self
            .log
            .mutate_once(id, actor, move |mutation| {
                Box::pin(async move {
                    let made = tailnet::new(id.get(), name, settings, mutation.now())?;
                    check_webhook(mutation, &Tailnet::default(), &made).await?;
                    write_tailnet(mutation, &made).await?;
                    let after = json!({
                        "settings": tailnet::describe_settings(&made),
                        "dns": dns::describe_settings(&made),
                    });
                    let detail = json!({ "after": after });
                    mutation.record_audit("tailnet.create", made.name.clone(), &detail);
                    Ok::<_, IdentityError>(CreateTailnetResponse {
                        tailnet: Some(made),
                    })
                })
            })
            .await?;
        Ok(answer)
    }

    /// Changes the fields of a tailnet that a mask names; returns it, and what an administrator should know of that.
    pub(crate) async fn update_tailnet(
        &self,
        id: TailnetId,
        actor: String,
        wanted: Tailnet,
        mask: Vec<String>,
    ) -> Result<UpdateTailnetResponse, IdentityError> {
        if mask.iter().any(|field| field == "key_policy") {
            self.require_key_policies()?;
        }
        let change = move |tailnet: &mut Tailnet| {
            let before = tailnet.key_policy.clone();
            tailnet::update_fields(tailnet, &wanted, &mask)?;
            let (was, is) = (before.as_ref(), tailnet.key_policy.as_ref());
            Ok(key_policy::find_warnings(was, is))
        };
        let answer = |tailnet, warnings| UpdateTailnetResponse {
            tailnet: Some(tailnet),
            warnings,
        };
        self.change_settings(id, actor, change, answer).await
    }

    /// Changes what the clients of a tailnet resolve names with.
    pub(crate) async fn update_dns(
        &self,
        id: TailnetId,
        actor: String,
        changes: Vec<DnsChange>,
    ) -> Result<UpdateDnsResponse, IdentityError> {
        let change = move |tailnet: &mut Tailnet| dns::apply_changes(tailnet, changes);
        let answer = |tailnet, ()| UpdateDnsResponse {
            tailnet: Some(tailnet),
        };
        self.change_settings(id, actor, change, answer).await
    }

    /// Deletes a tailnet that has no users left.
    pub(crate) async fn delete_tailnet(
        &self,
        id: TailnetId,
        actor: String,
    ) -> Result<(), IdentityError> {
        let ((), _) = self
            .log
            .mutate_once(id, actor, move |mutation| {
                Box::pin(async move {
                    let gone = require_tailnet(mutation.connection(), id).await?;
                    let users = store::list_users(mutation.connection(), id.get()).await?;
                    if !users.is_empty() {
                        let text = "the tailnet has users: delete them first";
                        return Err(IdentityError::Refused(text));
                    }
                    store::connections::delete_of_tailnet(mutation.connection(), id.get()).await?;
                    store::credentials::delete_of_tailnet(mutation.connection(), id.get()).await?;
                    store::webhooks::delete_of_tailnet(mutation.connection(), id.get()).await?;
                    store::groups::delete_groups_of_tailnet(mutation.connection(), id.get())
                        .await?;
                    store::delete_tailnet(mutation.connection(), id.get()).await?;
                    store::deleted_users::note_deleted_tailnet(mutation.connection(), id.get())
                        .await?;
                    mutation.record_entry(&IdentityChange::from(Change::TailnetDeleted(true)));
                    let before = json!({
                        "settings": tailnet::describe_settings(&gone),
                        "dns": dns::describe_settings(&gone),
                    });
                    let detail = json!({ "before": before });
                    mutation.record_audit("tailnet.delete", gone.name, &detail);
                    Ok(())
                })
            })
            .await?;
        Ok(())
    }

    /// Refuses a key policy while a process may run that does not know them.
    fn require_key_policies(&self) -> Result<(), IdentityError> {
        let level = self.log.database().require_level(KEY_POLICY_LEVEL);
        level.map_err(IdentityError::Refused)
    }

    /// Changes a tailnet as an administrator asks, and answers it with what the change says; where nothing differs afterwards,
    /// nothing is written.
    async fn change_settings<T, M>(
        &self,
        id: TailnetId,
        actor: String,
        change: impl FnOnce(&mut Tailnet) -> Result<T, IdentityError> + Send + 'static,
        answer: fn(Tailnet, T) -> M,
    ) -> Result<M, IdentityError>
    where
        T: Send + 'static,
        M: Message + Default + 'static,
    {
        let (answer, _) = self
            .log
            .mutate_once(id, actor, move |mutation| {
                Box::pin(async move {
                    let before = require_tailnet(mutation.connection(), id).await?;
                    let mut changed = before.clone();
                    let said = change(&mut changed)?;
                    check_webhook(mutation, &before, &changed).await?;
                    if changed != before {
                        write_tailnet(mutation, &changed).await?;
                        audit_settings(mutation, &before, &changed);
                    }
                    Ok::<_, IdentityError>(answer(changed, said))
                })
            })
            .await?;
        Ok(answer)
    }
}

/// Returns a tailnet that has to be there.
///
/// # Errors
///
/// When it is not, or when the database can not answer.
pub(crate) async fn require_tailnet(
    on: &mut AnyConnection,
    id: TailnetId,
) -> Result<Tailnet, IdentityError> {
    store::find_tailnet(on, id.get()).await?.ok_or(NO_TAILNET)
}

/// Refuses a key policy that has others ask a webhook that is none of the tailnet's, or that takes no questions.
async fn check_webhook(
    mutation: &mut Mutation,
    before: &Tailnet,
    now: &Tailnet,
) -> Result<(), IdentityError> {
    let of = |tailnet: &Tailnet| tailnet.key_policy.as_ref()?.approval_webhook;
    let Some(named) = of(now).filter(|named| Some(*named) != of(before)) else {
        return Ok(());
    };
    let invalid = |problem: String| {
        let field = "key_policy.approval_webhook.webhook_id";
        Err(IdentityError::invalid(field, problem))
    };
    let id = named.webhook_id;
    match store::webhooks::find_webhook(mutation.connection(), now.id, id).await? {
        None => invalid(format!(
            "the tailnet has no webhook {id}: make one first (bowline webhooks create)"
        )),
        Some(row) if !row.webhook.provider_type.is_empty() => invalid(format!(
            "the webhook {id} is sent the messages of {}, which decides nothing: make one without provider_type",
            row.webhook.provider_type
        )),
        Some(_) => Ok(()),
    }
}

/// Writes a tailnet as it is now, to the rows and to the log.
async fn write_tailnet(mutation: &mut Mutation, tailnet: &Tailnet) -> Result<(), IdentityError> {
    store::put_tailnet(mutation.connection(), tailnet).await?;
    mutation.record_entry(&IdentityChange::from(Change::Tailnet(tailnet.clone())));
    Ok(())
}

/// Puts on record what differs between two states of a tailnet: one entry for its DNS, one for the rest.
fn audit_settings(mutation: &mut Mutation, before: &Tailnet, now: &Tailnet) {
    let pairs = [
        (
            "tailnet.update",
            tailnet::describe_settings(before),
            tailnet::describe_settings(now),
        ),
        (
            "dns.update",
            dns::describe_settings(before),
            dns::describe_settings(now),
        ),
    ];
    for (action, was, is) in pairs {
        if was != is {
            mutation.record_audit(action, now.name.clone(), &describe_change(&was, &is));
        }
    }
}

/// Returns what a tailnet is called by people.
pub(crate) fn tailnet_title(tailnet: &Tailnet) -> String {
    match tailnet.display_name.as_str() {
        "" => tailnet.name.clone(),
        title => title.to_owned(),
    }
}
