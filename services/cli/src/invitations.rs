//! `bowline invitations`.

use bowline_proto::identity::v1::{
    CreateInvitationRequest, Invitation, ListInvitationsRequest, RevokeInvitationRequest, Role,
    invitation_service_client::InvitationServiceClient,
};
use bowline_service_kit::GrpcChannel;
use chrono::TimeDelta;
use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use crate::{
    administer::TailnetArg,
    connection::ConnectionArgs,
    failure::{Failure, require_field},
    output::{Printer, Row},
    time,
    users::{RoleArg, role_name},
};

/// What to do with links that let one person in.
#[derive(Debug, Subcommand)]
pub enum InvitationsCommand {
    /// List those that were not used yet.
    List {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Make a link that works once. Whoever opens it is logged in as this user, who is made where there is none.
    Create {
        /// For whom: a login name, such as "kim@example.com".
        login_name: String,
        /// What clients show of a new user.
        #[arg(long, default_value = "")]
        display_name: String,
        /// The role of a new user. A user who is there keeps the role.
        #[arg(long, value_enum, default_value_t = RoleArg::Member)]
        role: RoleArg,
        /// How long the link works unused, such as "24h"; at most 30 days.
        #[arg(long, default_value = "7d", value_parser = time::parse_duration)]
        expires: TimeDelta,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Take one back.
    Revoke {
        /// Its id.
        id: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// An invitation as shown.
#[derive(Debug, Serialize)]
struct ListedInvitation {
    id: String,
    login_name: String,
    role: String,
    created_at: Option<String>,
    expires_at: Option<String>,
}

impl From<Invitation> for ListedInvitation {
    fn from(invitation: Invitation) -> Self {
        Self {
            role: role_name(invitation.role()),
            id: invitation.id,
            login_name: invitation.login_name,
            created_at: time::time_text(invitation.created_at),
            expires_at: time::time_text(invitation.expires_at),
        }
    }
}

impl Row for ListedInvitation {
    const HEADS: &'static [&'static str] = &["id", "for", "role", "until"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.login_name.clone(),
            self.role.clone(),
            self.expires_at.clone().unwrap_or_default(),
        ]
    }
}

/// Runs a command.
pub async fn run(
    command: InvitationsCommand,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = connect(server)?;
    match command {
        InvitationsCommand::List { tailnet } => {
            let tailnet_id = tailnet.find_id(server).await?;
            let request = ListInvitationsRequest { tailnet_id };
            let answer = client.list_invitations(request).await?.into_inner();
            let rows: Vec<_> = answer
                .invitations
                .into_iter()
                .map(ListedInvitation::from)
                .collect();
            printer.print_rows(&rows);
        }
        InvitationsCommand::Create {
            login_name,
            display_name,
            role,
            expires,
            tailnet,
        } => {
            let invitation = Invitation {
                tailnet_id: tailnet.find_id(server).await?,
                login_name,
                display_name,
                role: Role::from(role).into(),
                ..Invitation::default()
            };
            let request = CreateInvitationRequest {
                invitation: Some(invitation),
                lifetime: Some(prost_types::Duration {
                    seconds: expires.num_seconds(),
                    nanos: 0,
                }),
            };
            let answer = client.create_invitation(request).await?.into_inner();
            let made = require_field(answer.invitation, "invitation")?;
            let link = match answer.url.as_str() {
                "" => bowline_proto::addresses::invitation_path(&answer.secret),
                url => url.to_owned(),
            };
            let text = format!(
                "{link}\nThe link lets {} in once{}. It is not shown again.",
                made.login_name,
                time::time_text(made.expires_at)
                    .map_or_else(String::new, |end| format!(", until {end}")),
            );
            let row = ListedInvitation::from(made);
            printer.print_result(&json!({ "invitation": row, "link": link }), &text);
        }
        InvitationsCommand::Revoke { id, tailnet } => {
            let request = RevokeInvitationRequest {
                tailnet_id: tailnet.find_id(server).await?,
                invitation_id: id.clone(),
            };
            client.revoke_invitation(request).await?;
            let text = format!("the invitation {id} works no more");
            printer.print_result(&json!({ "revoked": id }), &text);
        }
    }
    Ok(())
}

fn connect(server: &ConnectionArgs) -> Result<InvitationServiceClient<GrpcChannel>, Failure> {
    Ok(InvitationServiceClient::new(server.connect_to_identity()?))
}
