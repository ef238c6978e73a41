//! `bowline webhooks`.

use bowline_proto::identity::v1::{
    CreateWebhookRequest, DeleteWebhookRequest, GetWebhookRequest, ListUndeliveredEventsRequest,
    ListWebhooksRequest, ReplayUndeliveredEventsRequest, RotateWebhookSecretRequest,
    TestWebhookRequest, UndeliveredEvent, UpdateWebhookRequest, Webhook,
    webhook_service_client::WebhookServiceClient,
};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    administer::TailnetArg,
    connection::ConnectionArgs,
    failure::{Failure, require_field},
    output::{Printer, Row},
    time,
};

/// What to do with addresses that are told what happens.
#[derive(Debug, Subcommand)]
pub enum WebhooksCommand {
    /// List all.
    List {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Show one.
    Show(OneWebhook),
    /// Make one and show its secret, once. Events are sent there from now on.
    Create {
        /// Where events are sent: an https URL.
        url: String,
        /// What is sent, such as nodeCreated; several times for several. Without it everything is.
        #[arg(long = "event", default_value = "categoryTailnetManagement")]
        events: Vec<String>,
        /// Whose form events have: slack, mattermost, googlechat or discord. Without it a JSON list of events.
        #[arg(long, default_value = "")]
        provider: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Change what one is sent.
    Update {
        #[command(flatten)]
        one: OneWebhook,
        /// What is sent, in place of what was; several times for several.
        #[arg(long = "event", required = true)]
        events: Vec<String>,
    },
    /// Delete one, with what waits for it.
    Delete(OneWebhook),
    /// Send a test event, behind those that wait.
    Test(OneWebhook),
    /// Make a new secret and show it, once. For a day events are signed with both.
    Rotate(OneWebhook),
    /// List events that could not be delivered, oldest first.
    Undelivered(OneWebhook),
    /// Send events that could not be delivered again: one, or all up to 1,000.
    Replay {
        #[command(flatten)]
        one: OneWebhook,
        /// The event's id.
        #[arg(long, default_value = "")]
        event: String,
    },
}

/// Which webhook.
#[derive(Debug, Args)]
pub struct OneWebhook {
    /// Its number, as listed.
    id: u64,
    #[command(flatten)]
    tailnet: TailnetArg,
}

/// A webhook as shown.
#[derive(Debug, Serialize)]
struct ListedWebhook {
    id: u64,
    url: String,
    provider_type: String,
    subscriptions: Vec<String>,
    creator: String,
    created_at: Option<String>,
    changed_at: Option<String>,
    old_secret_ends_at: Option<String>,
    delivered_at: Option<String>,
    waiting: u64,
    undelivered: u64,
    failures: u32,
    problem: String,
}

impl ListedWebhook {
    fn read(webhook: Option<Webhook>) -> Result<Self, Failure> {
        require_field(webhook, "webhook").map(Self::from)
    }
}

impl From<Webhook> for ListedWebhook {
    fn from(webhook: Webhook) -> Self {
        Self {
            id: webhook.id,
            url: webhook.url,
            provider_type: webhook.provider_type,
            subscriptions: webhook.subscriptions,
            creator: webhook.creator,
            created_at: time::time_text(webhook.created_at),
            changed_at: time::time_text(webhook.changed_at),
            old_secret_ends_at: time::time_text(webhook.old_secret_ends_at),
            delivered_at: time::time_text(webhook.delivered_at),
            waiting: webhook.waiting,
            undelivered: webhook.undelivered,
            failures: webhook.failures,
            problem: webhook.problem,
        }
    }
}

impl Row for ListedWebhook {
    const HEADS: &'static [&'static str] = &[
        "id",
        "url",
        "events",
        "last delivered",
        "waiting",
        "undelivered",
        "problem",
    ];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.url.clone(),
            self.subscriptions.join(", "),
            self.delivered_at.clone().unwrap_or_default(),
            self.waiting.to_string(),
            self.undelivered.to_string(),
            // A receiver says what it likes: nothing in it may move the cursor.
            self.problem.escape_debug().to_string(),
        ]
    }
}

/// An event that could not be delivered, as shown.
#[derive(Debug, Serialize)]
struct UndeliveredRow {
    id: String,
    r#type: String,
    happened_at: Option<String>,
    attempts: u32,
    problem: String,
    given_up_at: Option<String>,
    event: Value,
}

impl From<UndeliveredEvent> for UndeliveredRow {
    fn from(event: UndeliveredEvent) -> Self {
        Self {
            id: event.id,
            r#type: event.r#type,
            happened_at: time::time_text(event.happened_at),
            attempts: event.attempts,
            problem: event.problem,
            given_up_at: time::time_text(event.given_up_at),
            event: serde_json::from_str(&event.body).unwrap_or_default(),
        }
    }
}

impl Row for UndeliveredRow {
    const HEADS: &'static [&'static str] = &["id", "event", "happened", "attempts", "problem"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.r#type.clone(),
            self.happened_at.clone().unwrap_or_default(),
            self.attempts.to_string(),
            self.problem.escape_debug().to_string(),
        ]
    }
}

/// Runs a command.
pub async fn run(
    command: WebhooksCommand,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    match command {
        WebhooksCommand::List { tailnet } => {
            let mut client = WebhookServiceClient::new(connection.connect_to_identity()?);
            let tailnet_id = tailnet.find_id(connection).await?;
            let listed = client
                .list_webhooks(ListWebhooksRequest { tailnet_id })
                .await?;
            let rows = listed.into_inner().webhooks.into_iter();
            printer.print_rows(&rows.map(ListedWebhook::from).collect::<Vec<_>>());
            Ok(())
        }
        WebhooksCommand::Create {
            url,
            events,
            provider,
            tailnet,
        } => {
            let mut client = WebhookServiceClient::new(connection.connect_to_identity()?);
            let request = CreateWebhookRequest {
                tailnet_id: tailnet.find_id(connection).await?,
                url,
                provider_type: provider,
                subscriptions: events,
            };
            let made = client.create_webhook(request).await?.into_inner();
            let webhook = ListedWebhook::read(made.webhook)?;
            let shown = json!({ "secret": made.secret, "webhook": webhook });
            printer.print_result(&shown, &made.secret);
            Ok(())
        }
        WebhooksCommand::Update { one, events } => {
            let mut client = WebhookServiceClient::new(connection.connect_to_identity()?);
            let request = UpdateWebhookRequest {
                tailnet_id: one.tailnet.find_id(connection).await?,
                webhook_id: one.id,
                subscriptions: events,
            };
            let changed = client.update_webhook(request).await?.into_inner().webhook;
            printer.print_row(&ListedWebhook::read(changed)?);
            Ok(())
        }
        WebhooksCommand::Show(one) => show_webhook(&one, connection, printer).await,
        WebhooksCommand::Delete(one) => delete_webhook(&one, connection, printer).await,
        WebhooksCommand::Test(one) => test_webhook(&one, connection, printer).await,
        WebhooksCommand::Rotate(one) => rotate_secret(&one, connection, printer).await,
        WebhooksCommand::Undelivered(one) => list_undelivered(&one, connection, printer).await,
        WebhooksCommand::Replay { one, event } => {
            replay_events(&one, event, connection, printer).await
        }
    }
}

async fn show_webhook(
    one: &OneWebhook,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = WebhookServiceClient::new(connection.connect_to_identity()?);
    let request = GetWebhookRequest {
        tailnet_id: one.tailnet.find_id(connection).await?,
        webhook_id: one.id,
    };
    let found = client.get_webhook(request).await?.into_inner().webhook;
    printer.print_row(&ListedWebhook::read(found)?);
    Ok(())
}

async fn delete_webhook(
    one: &OneWebhook,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = WebhookServiceClient::new(connection.connect_to_identity()?);
    let request = DeleteWebhookRequest {
        tailnet_id: one.tailnet.find_id(connection).await?,
        webhook_id: one.id,
    };
    client.delete_webhook(request).await?;
    let sentence = format!("webhook {} is deleted", one.id);
    printer.print_result(&json!({ "deleted": one.id }), &sentence);
    Ok(())
}

async fn test_webhook(
    one: &OneWebhook,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = WebhookServiceClient::new(connection.connect_to_identity()?);
    let request = TestWebhookRequest {
        tailnet_id: one.tailnet.find_id(connection).await?,
        webhook_id: one.id,
    };
    let event_id = client.test_webhook(request).await?.into_inner().event_id;
    let sentence = format!(
        "event {event_id} waits to be sent; bowline webhooks show {} says what became of it",
        one.id
    );
    printer.print_result(&json!({ "event_id": event_id }), &sentence);
    Ok(())
}

async fn rotate_secret(
    one: &OneWebhook,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = WebhookServiceClient::new(connection.connect_to_identity()?);
    let request = RotateWebhookSecretRequest {
        tailnet_id: one.tailnet.find_id(connection).await?,
        webhook_id: one.id,
    };
    let rotated = client.rotate_webhook_secret(request).await?.into_inner();
    let webhook = ListedWebhook::read(rotated.webhook)?;
    let shown = json!({ "secret": rotated.secret, "webhook": webhook });
    printer.print_result(&shown, &rotated.secret);
    Ok(())
}

async fn list_undelivered(
    one: &OneWebhook,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = WebhookServiceClient::new(connection.connect_to_identity()?);
    let request = ListUndeliveredEventsRequest {
        tailnet_id: one.tailnet.find_id(connection).await?,
        webhook_id: one.id,
    };
    let listed = client.list_undelivered_events(request).await?.into_inner();
    let rows = listed.events.into_iter().map(UndeliveredRow::from);
    printer.print_rows(&rows.collect::<Vec<_>>());
    Ok(())
}

async fn replay_events(
    one: &OneWebhook,
    event_id: String,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = WebhookServiceClient::new(connection.connect_to_identity()?);
    let request = ReplayUndeliveredEventsRequest {
        tailnet_id: one.tailnet.find_id(connection).await?,
        webhook_id: one.id,
        event_id,
    };
    let answer = client.replay_undelivered_events(request).await?;
    let events = answer.into_inner().events;
    let sentence = format!("{events} events wait to be sent again");
    printer.print_result(&json!({ "events": events }), &sentence);
    Ok(())
}
