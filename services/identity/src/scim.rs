//! Users and groups that an identity provider keeps here, by SCIM 2.0.
//!
//! ```text
//! portal: HTTP ─▶ grpc/scim ─▶ caller: whose token is it, which connection's
//!                               │
//!             users, groups: one mutation each ─▶ domain/scim: what the attributes mean
//!             listing: filter, order, page     ─▶ resource: the JSON
//! ```
//!
//! A provider sees and changes only what its own connection has brought. What it says is kept as JSON in a table of its own; what
//! it means for a user or group goes the way of all changes of users and groups, so that who follows the log learns nothing
//! new. `linking` lets a person who logs in by the connection be the user that the provider has brought.

mod caller;
mod end;
mod groups;
mod linking;
mod listing;
mod members;
mod resource;
mod rows;
mod tokens;
mod users;

use bowline_db::ChangeLog;
use bowline_proto::identity::v1::{ScimProjection, ScimResource};
use bowline_scim::{Projection, ScimType};

use crate::error::IdentityError;

pub(crate) use end::end_provisioning;
pub(crate) use linking::{find_provisioned, is_provisioned_by};
pub(crate) use tokens::ScimTokens;

/// Serves what providers ask by SCIM. Clones share it.
#[derive(Clone, Debug)]
pub struct ScimProvisioning {
    log: ChangeLog,
}

/// Which resource a request is about, and how.
#[derive(Clone, Debug)]
pub(crate) struct ScimRequest {
    /// The provider's token.
    pub(crate) token: String,
    /// What the resource is.
    pub(crate) of: ScimType,
    /// Its identifier, where there is one.
    pub(crate) id: String,
    /// The JSON object, where there is one.
    pub(crate) body: String,
    /// The versions one of which it has to have.
    pub(crate) if_match: String,
    /// Which attributes the answer has.
    pub(crate) projection: Option<ScimProjection>,
}

impl ScimRequest {
    /// Returns a request of a holder of a token about resources of a type, without anything else.
    pub(crate) fn new(of: ScimType, token: String) -> Self {
        Self {
            token,
            of,
            id: String::new(),
            body: String::new(),
            if_match: String::new(),
            projection: None,
        }
    }

    /// Reads which attributes the answer has.
    fn read_projection(&self) -> Result<Projection, IdentityError> {
        read_projection(self.of, self.projection.as_ref())
    }
}

/// Reads which attributes an answer has.
fn read_projection(
    of: ScimType,
    projection: Option<&ScimProjection>,
) -> Result<Projection, IdentityError> {
    let (only, without) = match projection {
        Some(named) => (&*named.attributes, &*named.excluded_attributes),
        None => ("", ""),
    };
    Ok(Projection::parse(of, only, without)?)
}

impl ScimProvisioning {
    pub(crate) fn new(log: ChangeLog) -> Self {
        Self { log }
    }

    /// Makes a user or group.
    pub(crate) async fn create_resource(
        &self,
        request: ScimRequest,
    ) -> Result<ScimResource, IdentityError> {
        match request.of {
            ScimType::User => self.create_user(request).await,
            ScimType::Group => self.create_group(request).await,
        }
    }

    /// Replaces what the provider says of a user or group.
    pub(crate) async fn replace_resource(
        &self,
        request: ScimRequest,
    ) -> Result<ScimResource, IdentityError> {
        match request.of {
            ScimType::User => self.replace_user(request).await,
            ScimType::Group => self.replace_group(request).await,
        }
    }

    /// Changes what the provider says of a user or group.
    pub(crate) async fn patch_resource(
        &self,
        request: ScimRequest,
    ) -> Result<ScimResource, IdentityError> {
        match request.of {
            ScimType::User => self.patch_user(request).await,
            ScimType::Group => self.patch_group(request).await,
        }
    }

    /// Deletes a user, or what the provider says of a group.
    pub(crate) async fn delete_resource(&self, request: ScimRequest) -> Result<(), IdentityError> {
        match request.of {
            ScimType::User => self.delete_user(request).await,
            ScimType::Group => self.delete_group(request).await,
        }
    }
}

/// Reads an identifier; what is none is nobody's.
fn read_id(of: ScimType, id: &str) -> Result<u64, IdentityError> {
    id.parse().map_err(|_| no_resource(of))
}

const fn no_resource(of: ScimType) -> IdentityError {
    IdentityError::NotFound(match of {
        ScimType::User => "user",
        ScimType::Group => "group",
    })
}
