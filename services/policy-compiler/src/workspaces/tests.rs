use bowline_bus::Bus;
use bowline_change_feed::{Feed, IdentityLog, RegistryLog};
use bowline_service_kit::{Caller, DeferredServices, ServiceName, Shutdown};

use super::*;
use crate::error::CompilerError;

/// Returns no workspaces, with owners that never answer.
fn workspaces() -> Workspaces {
    let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
    let bus = Bus::in_process();
    let owners = DeferredServices::default();
    let channel = || owners.channel_for(Caller::Service(ServiceName::PolicyCompiler));
    let feeds = OwnerFeeds {
        identity: Feed::start(
            IdentityLog::new(channel()),
            ServiceName::PolicyCompiler,
            &bus,
            &tasks,
        ),
        registry: Feed::start(
            RegistryLog::new(channel()),
            ServiceName::PolicyCompiler,
            &bus,
            &tasks,
        ),
    };
    Workspaces::new(feeds, &tasks)
}

fn tailnet() -> TailnetId {
    TailnetId::try_from(1_u64).unwrap()
}

#[tokio::test]
async fn a_workspace_that_broke_is_given_up_and_whoever_watches_asks_for_another() {
    let workspaces = workspaces();
    let workspace = workspaces.get_or_start(tailnet(), || {});
    let watching = tokio::spawn(Arc::clone(&workspace).watch());
    let asking = tokio::spawn(Arc::clone(&workspace).query(0, |_, version| version));
    let (events, received) = mpsc::channel(1);
    events.send(WorkspaceEvent::Impossible).await.unwrap();
    let run = workspaces
        .clone()
        .run(tailnet(), Arc::clone(&workspace), received);
    run.await;
    assert!(watching.await.unwrap().is_none());
    assert!(matches!(
        asking.await.unwrap(),
        Err(CompilerError::NotReady)
    ));
    let another = workspaces.get_or_start(tailnet(), || {});
    assert!(!Arc::ptr_eq(&workspace, &another));
}

#[tokio::test(start_paused = true)]
async fn a_workspace_is_kept_while_somebody_watches_and_dropped_a_while_after() {
    let workspaces = workspaces();
    let watched = workspaces.get_or_start(tailnet(), || {});
    tokio::time::sleep(3 * IDLE_TIMEOUT).await;
    assert_eq!(workspaces.tailnets(), [tailnet()]);
    drop(watched);
    tokio::time::sleep(IDLE_TIMEOUT / 2).await;
    assert_eq!(workspaces.tailnets(), [tailnet()]);
    tokio::time::sleep(IDLE_TIMEOUT).await;
    assert_eq!(workspaces.tailnets(), []);
}
