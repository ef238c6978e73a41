use bowline_bus::{Bus, LogOwner};
use bowline_clock::SystemClock;
use bowline_db::Database;
use bowline_http_client::Destinations;
use bowline_ids::TailnetId;
use bowline_proto::identity::v1::{CreateTailnetRequest, CreateWebhookRequest};
use bowline_test_servers::{TestDatabase, on_both};
use bowline_test_webhook_receiver::TestReceiver;

use super::*;
use crate::{
    service::Identity,
    tailnets::Tailnets,
    webhooks::{TrailReader, Webhooks},
};

on_both!(std::future::ready::<TestDatabase> =>
    events_are_sent_when_they_are_committed,
);

const SEALING_KEY: &str = "bowline-sealing-key-AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

async fn events_are_sent_when_they_are_committed(database: TestDatabase) {
    let options = Identity::database_options(Arc::new(SystemClock));
    let opened = Database::open(&database.url("identity"), options).await;
    let log = ChangeLog::new(opened.unwrap(), Bus::in_process(), LogOwner::Identity);
    let sealing = Arc::new(SealingKeys::parse(SEALING_KEY).unwrap());
    let (receiver, events) = (TestReceiver::start().await, EventSignal::default());
    let client = receiver.client(Destinations::Anywhere);
    let mut sender = WebhookSender::new(log.clone(), Arc::clone(&sealing), client, events.clone());
    sender.look_interval = Duration::from_secs(3600);
    #[expect(clippy::disallowed_methods, reason = "the test ends it")]
    let sending = tokio::spawn(sender.run());

    let actor = || "test".to_owned();
    let tailnets = Tailnets::new(log.clone());
    let wanted = CreateTailnetRequest {
        name: "home".to_owned(),
        settings: None,
    };
    let made = tailnets.create_tailnet(actor(), wanted).await.unwrap();
    let tailnet = TailnetId::try_from(made.tailnet.unwrap().id).unwrap();
    let trails = TrailReader::new(log.clone(), None);
    let webhooks = Webhooks::new(log, Some(sealing), trails, events);
    let wanted = CreateWebhookRequest {
        tailnet_id: tailnet.get(),
        url: receiver.url(),
        subscriptions: vec!["userCreated".to_owned()],
        ..CreateWebhookRequest::default()
    };
    let made = webhooks.create_webhook(tailnet, actor(), wanted).await;
    let id = made.unwrap().webhook.unwrap().id;
    // The second is written while nothing is sent any more.
    for count in 1..=2 {
        let tested = webhooks.test_webhook(tailnet, actor(), id).await.unwrap();
        let deliveries = receiver.wait_for(count).await;
        assert_eq!(deliveries[count - 1].id, tested.event_id);
        while webhooks.find_webhook(tailnet, id).await.unwrap().waiting > 0 {
            tokio::task::yield_now().await;
        }
    }
    sending.abort();
}
