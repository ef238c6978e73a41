//! Tailnets.

use bowline_db::{Mutation, next_id};
use bowline_proto::identity::v1::{
    CreateTailnetRequest, CreateTailnetResponse, DeleteTailnetRequest, DeleteTailnetResponse,
    IdentityChange, ListTailnetsRequest, ListTailnetsResponse, Tailnet, UpdateDnsRequest,
    UpdateDnsResponse, UpdateTailnetRequest, UpdateTailnetResponse, identity_change::Change,
    tailnet_service_server::TailnetService,
};
use bowline_service_kit::Caller;
use serde_json::json;
use tonic::{Request, Response, Status};

use crate::{
    Identity,
    domain::{describe_change, dns, tailnet},
    error::IdentityError,
    fields::{read_tailnet_id, require_field},
    store,
};

/// Writes a tailnet as it is now, with what the log and the audit trail say of it; nothing when nothing differs.
async fn write_tailnet(
    mutation: &mut Mutation,
    before: &Tailnet,
    now: &Tailnet,
) -> Result<(), IdentityError> {
    if before == now {
        return Ok(());
    }
    store::put_tailnet(mutation.connection(), now).await?;
    mutation.record_entry(&IdentityChange {
        change: Some(Change::Tailnet(now.clone())),
    });
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
    Ok(())
}

#[tonic::async_trait]
impl TailnetService for Identity {
    async fn create_tailnet(
        &self,
        request: Request<CreateTailnetRequest>,
    ) -> Result<Response<CreateTailnetResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let CreateTailnetRequest { name, settings } = request.into_inner();
        let database = self.log().database();
        let id = database
            .write(|write| {
                Box::pin(async { Ok::<_, IdentityError>(next_id(write.connection()).await?) })
            })
            .await?;
        let id = read_tailnet_id(id.cast_unsigned())?;
        let (tailnet, _) = self
            .log()
            .mutate(id, actor, move |mutation| {
                Box::pin(async move {
                    let made = tailnet::new(id.get(), name, settings, mutation.now())?;
                    store::put_tailnet(mutation.connection(), &made).await?;
                    mutation.record_entry(&IdentityChange {
                        change: Some(Change::Tailnet(made.clone())),
                    });
                    let after =
                        json!({ "settings": tailnet::describe_settings(&made), "dns": dns::describe_settings(&made) });
                    mutation.record_audit(
                        "tailnet.create",
                        made.name.clone(),
                        &json!({ "after": after }),
                    );
                    Ok::<_, IdentityError>(made)
                })
            })
            .await?;
        Ok(Response::new(CreateTailnetResponse {
            tailnet: Some(tailnet),
        }))
    }

    async fn list_tailnets(
        &self,
        _: Request<ListTailnetsRequest>,
    ) -> Result<Response<ListTailnetsResponse>, Status> {
        let tailnets = store::list_tailnets(self.log().database().reader())
            .await
            .map_err(IdentityError::from)?;
        Ok(Response::new(ListTailnetsResponse { tailnets }))
    }

    async fn update_tailnet(
        &self,
        request: Request<UpdateTailnetRequest>,
    ) -> Result<Response<UpdateTailnetResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let UpdateTailnetRequest {
            tailnet: wanted,
            update_mask,
        } = request.into_inner();
        let wanted = require_field("tailnet", wanted)?;
        // Without a mask nothing is to change.
        let mask = update_mask.map_or_else(Vec::new, |mask| mask.paths);
        let id = read_tailnet_id(wanted.id)?;
        let (tailnet, _) = self
            .log()
            .mutate(id, actor, move |mutation| {
                Box::pin(async move {
                    let found = store::find_tailnet(mutation.connection(), id.get()).await?;
                    let before = found.ok_or(IdentityError::NotFound("tailnet"))?;
                    let mut changed = before.clone();
                    tailnet::update_fields(&mut changed, &wanted, &mask)?;
                    write_tailnet(mutation, &before, &changed).await?;
                    Ok::<_, IdentityError>(changed)
                })
            })
            .await?;
        Ok(Response::new(UpdateTailnetResponse {
            tailnet: Some(tailnet),
        }))
    }

    async fn update_dns(
        &self,
        request: Request<UpdateDnsRequest>,
    ) -> Result<Response<UpdateDnsResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let UpdateDnsRequest {
            tailnet_id: id,
            changes,
        } = request.into_inner();
        let id = read_tailnet_id(id)?;
        let (tailnet, _) = self
            .log()
            .mutate(id, actor, move |mutation| {
                Box::pin(async move {
                    let found = store::find_tailnet(mutation.connection(), id.get()).await?;
                    let before = found.ok_or(IdentityError::NotFound("tailnet"))?;
                    let mut changed = before.clone();
                    dns::apply_changes(&mut changed, changes)?;
                    write_tailnet(mutation, &before, &changed).await?;
                    Ok::<_, IdentityError>(changed)
                })
            })
            .await?;
        Ok(Response::new(UpdateDnsResponse {
            tailnet: Some(tailnet),
        }))
    }

    async fn delete_tailnet(
        &self,
        request: Request<DeleteTailnetRequest>,
    ) -> Result<Response<DeleteTailnetResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let id = read_tailnet_id(request.into_inner().tailnet_id)?;
        self.log()
            .mutate(id, actor, move |mutation| {
                Box::pin(async move {
                    let found = store::find_tailnet(mutation.connection(), id.get()).await?;
                    let tailnet = found.ok_or(IdentityError::NotFound("tailnet"))?;
                    if !store::list_users(mutation.connection(), id.get())
                        .await?
                        .is_empty()
                    {
                        return Err(IdentityError::Refused(
                            "the tailnet has users: delete them first",
                        ));
                    }
                    store::delete_tailnet(mutation.connection(), id.get()).await?;
                    mutation.record_entry(&IdentityChange {
                        change: Some(Change::TailnetDeleted(true)),
                    });
                    mutation.record_audit("tailnet.delete", tailnet.name, &json!({}));
                    Ok(())
                })
            })
            .await?;
        Ok(Response::new(DeleteTailnetResponse {}))
    }
}
