//! `bowline logins`.

use bowline_keys::MachinePublic;
use bowline_proto::identity::v1::{
    ApproveLoginRequest, DenyLoginRequest, GetLoginRequest, ListLoginsRequest, Login, LoginState,
    login_service_client::LoginServiceClient,
};
use clap::Subcommand;
use serde::Serialize;

use crate::{
    administer::{self, TailnetArg},
    connection::ConnectionArgs,
    failure::{Failure, FailureKind, require_field},
    output::{Printer, Row, key_text},
    time,
};

/// What to do with logins.
#[derive(Debug, Subcommand)]
pub enum LoginsCommand {
    /// List those that wait.
    List,
    /// Show one.
    Show {
        /// Its id, or the whole address the device showed.
        id: String,
    },
    /// Let the device in, as a node of a user. Shows the device first, and asks at a terminal.
    Approve {
        /// Its id, or the whole address the device showed.
        id: String,
        /// Whose node it becomes.
        #[arg(long)]
        user: String,
        /// Ask nothing.
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Turn the device away.
    Deny {
        /// Its id, or the whole address the device showed.
        id: String,
        /// Shown on the device.
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// A login as shown.
#[derive(Debug, Serialize)]
struct LoginRow {
    id: String,
    state: String,
    hostname: String,
    os: String,
    client_version: String,
    source_address: String,
    machine_key: String,
    user_id: u64,
    created_at: Option<String>,
    expires_at: Option<String>,
}

impl From<Login> for LoginRow {
    fn from(login: Login) -> Self {
        let state = login
            .state()
            .as_str_name()
            .trim_start_matches("LOGIN_STATE_")
            .to_lowercase();
        // A device may describe nothing of itself.
        let device = login.device.unwrap_or_default();
        Self {
            id: login.id,
            state,
            hostname: device.hostname,
            os: device.os,
            client_version: device.client_version,
            source_address: device.source_address,
            machine_key: key_text(MachinePublic::try_from(&*login.machine_key)),
            user_id: login.user_id,
            created_at: time::time_text(login.created_at),
            expires_at: time::time_text(login.expires_at),
        }
    }
}

impl Row for LoginRow {
    const HEADS: &'static [&'static str] = &["id", "state", "device", "system", "from", "until"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.state.clone(),
            // A device names itself: nothing in a name may move the cursor.
            self.hostname.escape_debug().to_string(),
            self.os.escape_debug().to_string(),
            self.source_address.clone(),
            self.expires_at.clone().unwrap_or_default(),
        ]
    }
}

/// A login as it is shown before somebody decides: what tells the device from another.
#[derive(Debug, Serialize)]
struct AnsweredLogin(LoginRow);

impl Row for AnsweredLogin {
    const HEADS: &'static [&'static str] =
        &["device", "system", "client", "from", "machine key", "state"];

    fn table_cells(&self) -> Vec<String> {
        let Self(shown) = self;
        vec![
            shown.hostname.escape_debug().to_string(),
            shown.os.escape_debug().to_string(),
            shown.client_version.escape_debug().to_string(),
            shown.source_address.clone(),
            shown.machine_key.clone(),
            shown.state.clone(),
        ]
    }
}

/// Runs a command.
pub async fn run(
    command: LoginsCommand,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = LoginServiceClient::new(connection.connect_to_identity()?);
    let login = match command {
        LoginsCommand::List => {
            let logins = client
                .list_logins(ListLoginsRequest::default())
                .await?
                .into_inner()
                .logins;
            printer.print_rows(&logins.into_iter().map(LoginRow::from).collect::<Vec<_>>());
            return Ok(());
        }
        LoginsCommand::Show { id } => {
            let request = GetLoginRequest {
                login_id: last_part(&id),
            };
            client.get_login(request).await?.into_inner().login
        }
        LoginsCommand::Approve {
            id,
            user,
            yes,
            tailnet,
        } => {
            let tailnet = tailnet.find_tailnet(connection).await?;
            let user = administer::find_user(connection, tailnet.id, &user).await?;
            let login_id = last_part(&id);
            let request = GetLoginRequest {
                login_id: login_id.clone(),
            };
            let login = client.get_login(request).await?.into_inner().login;
            let login = require_field(login, "login")?;
            let is_open = login.state() == LoginState::Pending;
            printer.show_first(&AnsweredLogin(LoginRow::from(login)));
            let question = format!(
                "Let this device in as one of {} in tailnet {}?",
                user.login_name, tailnet.name
            );
            if is_open && !yes && !printer.ask_confirmation(&question)? {
                let text =
                    "not approved: the device goes on waiting, bowline logins deny turns it away";
                return Err(Failure::new(FailureKind::Refused, text));
            }
            let request = ApproveLoginRequest {
                login_id,
                tailnet_id: tailnet.id,
                user_id: user.id,
            };
            client.approve_login(request).await?.into_inner().login
        }
        LoginsCommand::Deny {
            id,
            reason,
            tailnet,
        } => {
            let request = DenyLoginRequest {
                login_id: last_part(&id),
                reason,
                tailnet_id: tailnet.find_id(connection).await?,
            };
            client.deny_login(request).await?.into_inner().login
        }
    };
    printer.print_row(&LoginRow::from(require_field(login, "login")?));
    Ok(())
}

fn last_part(id: &str) -> String {
    id.rsplit('/').next().unwrap_or(id).to_owned()
}
