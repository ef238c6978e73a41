//! `bowline sessions`.

use bowline_proto::identity::v1::{
    EndSessionRequest, ListSessionsRequest, Session, session_service_client::SessionServiceClient,
};
use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use crate::{
    administer::{self, TailnetArg},
    connection::ConnectionArgs,
    failure::Failure,
    output::{Printer, Row},
    time,
};

/// What to do with people's sessions, in browsers and of programs.
#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// List those that have not ended.
    List {
        /// Only this user's.
        #[arg(long)]
        user: Option<String>,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// End one: the browser, or the program, has to log in again.
    End {
        /// Its id.
        id: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// A session as shown.
#[derive(Debug, Serialize)]
struct ListedSession {
    id: String,
    user_id: u64,
    user: String,
    by: String,
    connection_id: u64,
    source_address: String,
    user_agent: String,
    created_at: Option<String>,
    last_used_at: Option<String>,
    expires_at: Option<String>,
    limited: bool,
    program: bool,
}

impl ListedSession {
    fn new(session: Session, user: String) -> Self {
        let by = session.origin().as_str_name();
        Self {
            by: by.trim_start_matches("SESSION_ORIGIN_").to_lowercase(),
            limited: session.limited,
            program: session.program,
            id: session.id,
            user_id: session.user_id,
            user,
            connection_id: session.connection_id,
            source_address: session.source_address,
            user_agent: session.user_agent,
            created_at: time::time_text(session.created_at),
            last_used_at: time::time_text(session.last_used_at),
            expires_at: time::time_text(session.expires_at),
        }
    }
}

impl Row for ListedSession {
    const HEADS: &'static [&'static str] = &["id", "user", "by", "from", "browser", "last used"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.user.clone(),
            self.by.clone(),
            self.source_address.clone(),
            // A browser names itself: nothing in a name may move the cursor.
            match self.program {
                true => format!("program: {}", self.user_agent.escape_debug()),
                false => self.user_agent.escape_debug().to_string(),
            },
            self.last_used_at.clone().unwrap_or_default(),
        ]
    }
}

/// Runs a command.
pub async fn run(
    command: SessionsCommand,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = SessionServiceClient::new(server.connect_to_identity()?);
    match command {
        SessionsCommand::List { user, tailnet } => {
            let tailnet_id = tailnet.find_id(server).await?;
            let user_id = match user {
                Some(name) => administer::find_user(server, tailnet_id, &name).await?.id,
                None => 0,
            };
            let request = ListSessionsRequest {
                tailnet_id,
                user_id,
            };
            let sessions = client.list_sessions(request).await?.into_inner().sessions;
            let users = administer::list_users(server, tailnet_id).await?;
            let name_of = |id| {
                let found = users.iter().find(|user| user.id == id);
                found.map_or_else(String::new, |user| user.login_name.clone())
            };
            let rows: Vec<_> = sessions
                .into_iter()
                .map(|session| {
                    let name = name_of(session.user_id);
                    ListedSession::new(session, name)
                })
                .collect();
            printer.print_rows(&rows);
        }
        SessionsCommand::End { id, tailnet } => {
            let request = EndSessionRequest {
                tailnet_id: tailnet.find_id(server).await?,
                session_id: id.clone(),
            };
            client.end_session(request).await?;
            printer.print_result(
                &json!({ "ended": id }),
                &format!("the session {id} has ended"),
            );
        }
    }
    Ok(())
}
