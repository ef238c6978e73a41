//! What every bus does.

use bowline_bus::{Event, LogOwner};

use crate::support::{TestBus, hint, next};

macro_rules! on_each_bus {
    ($($case:ident),* $(,)?) => {
        mod in_process {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(crate::support::TestBus::in_process()).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                if let Some(fixture) = crate::support::TestBus::redis().await {
                    super::$case(fixture).await;
                }
            })*
        }
    };
}

on_each_bus!(
    a_listener_hears_only_its_owners,
    a_listener_that_is_far_behind_gets_a_gap,
    every_listener_hears_every_hint,
    hints_of_an_owner_come_in_order,
    publishing_without_listeners_is_no_error,
);

async fn every_listener_hears_every_hint(fixture: TestBus) {
    let mut listeners = [(); 3].map(|()| fixture.listener.subscribe(&[LogOwner::KeyRegistry]));
    fixture.publisher.publish(LogOwner::KeyRegistry, hint(1, 7));
    for listener in &mut listeners {
        assert_eq!(
            next(listener).await,
            Event::Hint(LogOwner::KeyRegistry, hint(1, 7))
        );
    }
}

async fn a_listener_hears_only_its_owners(fixture: TestBus) {
    let mut listener = fixture
        .listener
        .subscribe(&[LogOwner::Identity, LogOwner::PolicyCompiler]);
    fixture.publisher.publish(LogOwner::KeyRegistry, hint(1, 1));
    fixture.publisher.publish(LogOwner::Identity, hint(2, 2));
    assert_eq!(
        next(&mut listener).await,
        Event::Hint(LogOwner::Identity, hint(2, 2))
    );
    fixture
        .publisher
        .publish(LogOwner::PolicyCompiler, hint(3, 3));
    assert_eq!(
        next(&mut listener).await,
        Event::Hint(LogOwner::PolicyCompiler, hint(3, 3))
    );
}

async fn hints_of_an_owner_come_in_order(fixture: TestBus) {
    let mut listener = fixture.listener.subscribe(&[LogOwner::Identity]);
    for revision in 1..=500 {
        fixture
            .publisher
            .publish(LogOwner::Identity, hint(1, revision));
    }
    for revision in 1..=500 {
        assert_eq!(
            next(&mut listener).await,
            Event::Hint(LogOwner::Identity, hint(1, revision))
        );
    }
}

async fn a_listener_that_is_far_behind_gets_a_gap(fixture: TestBus) {
    let mut late = fixture.listener.subscribe(&[LogOwner::Identity]);
    let mut prompt = fixture.listener.subscribe(&[LogOwner::Identity]);
    for revision in 1..=5000 {
        fixture
            .publisher
            .publish(LogOwner::Identity, hint(1, revision));
        assert_eq!(
            next(&mut prompt).await,
            Event::Hint(LogOwner::Identity, hint(1, revision))
        );
    }
    assert_eq!(next(&mut late).await, Event::Gap(LogOwner::Identity));
    assert!(matches!(next(&mut late).await, Event::Hint(..)));
}

async fn publishing_without_listeners_is_no_error(fixture: TestBus) {
    fixture.publisher.publish(LogOwner::Identity, hint(1, 1));
    let mut listener = fixture.listener.subscribe(&[LogOwner::KeyRegistry]);
    fixture.publisher.publish(LogOwner::KeyRegistry, hint(1, 2));
    assert_eq!(
        next(&mut listener).await,
        Event::Hint(LogOwner::KeyRegistry, hint(1, 2))
    );
}
