//! Answers that are kept: how long, how many, and of what size.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use bowline_db::{AnswerKeeper, ChangeLog, DatabaseError};
use bowline_proto::access::IDEMPOTENCY_KEY;
use bowline_service_kit::{Caller, GrpcChannel, Shutdown, Tasks, status_reason};
use bowline_test_servers::on_both;
use futures_util::{FutureExt as _, future::BoxFuture};
use http::{Request, Response, uri::PathAndQuery};
use tonic::{
    Code, Status,
    body::Body,
    client::Grpc,
    server::{self, NamedService, UnaryService},
    service::Routes,
};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::support::{TestLog, insert, tailnet};

on_both!(TestLog::open =>
    answers_are_forgotten_after_a_day,
    a_tailnet_keeps_so_many_answers,
    answers_that_are_too_long_undo_their_change,
    a_call_whose_caller_has_gone_is_answered_when_it_is_repeated,
    an_answer_that_was_tampered_with_is_not_given
);

/// An RPC that takes keys.
const PATH: &str = "/bowline.identity.v1.GroupService/CreateGroup";
const KEY: &str = "0123456789abcdef";
/// A name that is answered with more than is kept.
const LONG: &str = "long";

/// Adds a thing for each call, and answers with its name, as an owner's service does.
#[derive(Clone)]
struct ThingService(ChangeLog);

impl NamedService for ThingService {
    const NAME: &'static str = "bowline.identity.v1.GroupService";
}

impl UnaryService<String> for ThingService {
    type Response = String;
    type Future = BoxFuture<'static, Result<tonic::Response<String>, Status>>;

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        let (log, name) = (self.0.clone(), request.into_inner());
        let answer = async move {
            let added = log.mutate_once(tailnet(1), "admin:test", move |mutation| {
                Box::pin(async move {
                    insert(mutation, &name).await?;
                    let times = if name == LONG { 1 << 20 } else { 1 };
                    Ok::<_, DatabaseError>(name.repeat(times))
                })
            });
            let (answer, _) = added
                .await
                .map_err(|error| Status::aborted(error.to_string()))?;
            Ok(tonic::Response::new(answer))
        };
        answer.boxed()
    }
}

impl Service<Request<Body>> for ThingService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = self.clone();
        let answer = async move {
            let codec = ProstCodec::<String, String>::default();
            Ok(server::Grpc::new(codec).unary(service, request).await)
        };
        answer.boxed()
    }
}

/// The service, and what keeps its answers.
struct TestThings {
    keeper: AnswerKeeper,
    channel: GrpcChannel,
}

impl TestThings {
    fn new(log: &ChangeLog) -> Self {
        let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
        let keeper = AnswerKeeper::start(log.database().clone(), &tasks);
        let mut routes = Routes::builder();
        routes.add_service(keeper.around(ThingService(log.clone())));
        let caller = Caller::Admin {
            name: "test".to_owned(),
        };
        let channel = GrpcChannel::in_process(routes.routes(), caller);
        Self { keeper, channel }
    }

    async fn add(&self, name: &str) -> Result<String, Status> {
        let mut request = tonic::Request::new(name.to_owned());
        let key = KEY.parse().unwrap();
        request.metadata_mut().insert(IDEMPOTENCY_KEY, key);
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await.unwrap();
        let codec = ProstCodec::<String, String>::default();
        let answer = client.unary(request, PathAndQuery::from_static(PATH), codec);
        answer.await.map(tonic::Response::into_inner)
    }
}

/// Puts in rows of other calls: how old, and which numbers.
async fn insert_rows(log: &TestLog, hours: i64, numbers: &[i64]) {
    let numbers = numbers.to_vec();
    let inserted = log.database().write(move |write| {
        Box::pin(async move {
            let kept_at = write.now().timestamp_micros() - hours * 3_600_000_000;
            for number in numbers {
                sqlx::query("INSERT INTO kept_answers VALUES ($1, 1, $2, $3, $4, $4)")
                    .bind(number.to_be_bytes().to_vec())
                    .bind(number)
                    .bind(kept_at)
                    .bind(Vec::<u8>::new())
                    .execute(write.connection())
                    .await?;
            }
            Ok::<_, DatabaseError>(())
        })
    });
    inserted.await.unwrap();
}

async fn answers_are_forgotten_after_a_day(log: TestLog) {
    let things = TestThings::new(&log.log);
    assert_eq!(things.add("one").await.unwrap(), "one");
    log.advance(24 * 3600 - 60);
    assert_eq!(things.keeper.forget_old().await.unwrap(), 0);
    assert_eq!(things.add("one").await.unwrap(), "one");
    insert_rows(&log, 25, &(2..2_502).collect::<Vec<_>>()).await;
    log.advance(120);
    assert_eq!(things.keeper.forget_old().await.unwrap(), 2_501);
    // It is a new call now, and there is such a thing.
    assert_eq!(things.add("one").await.unwrap_err().code(), Code::Aborted);
    assert_eq!(log.names(tailnet(1)).await, ["one"]);
}

async fn a_tailnet_keeps_so_many_answers(log: TestLog) {
    let things = TestThings::new(&log.log);
    // Rows go oldest first, so that what is between these is there.
    insert_rows(&log, 2, &[1, 100_000]).await;
    let refused = things.add("one").await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let reason = status_reason(&refused);
    assert_eq!(reason.as_deref(), Some("TOO_MANY_IDEMPOTENCY_KEYS"));
    assert!(log.names(tailnet(1)).await.is_empty());
    log.execute("UPDATE kept_answers SET number = 2 WHERE number = 1")
        .await;
    assert_eq!(things.add("one").await.unwrap(), "one");
    let refused = things.add("two").await.unwrap_err();
    assert_eq!(
        status_reason(&refused).as_deref(),
        Some("IDEMPOTENCY_KEY_REUSED")
    );
}

async fn answers_that_are_too_long_undo_their_change(log: TestLog) {
    let things = TestThings::new(&log.log);
    for _ in 0..2 {
        let refused = things.add(LONG).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(status_reason(&refused).as_deref(), Some("ANSWER_TOO_LONG"));
    }
    assert!(log.names(tailnet(1)).await.is_empty());
    assert_eq!(things.add("one").await.unwrap(), "one");
}

async fn a_call_whose_caller_has_gone_is_answered_when_it_is_repeated(log: TestLog) {
    let things = TestThings::new(&log.log);
    for polls in 1..12 {
        // Another call each time, for the key is the same.
        log.execute("DELETE FROM kept_answers").await;
        let name = format!("thing-{polls}");
        let mut left = polls;
        let mut call = Box::pin(things.add(&name));
        std::future::poll_fn(|context| {
            left -= 1;
            match call.poll_unpin(context) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending if left == 0 => Poll::Ready(()),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        drop(call);
        assert_eq!(things.add(&name).await.unwrap(), name);
        assert_eq!(log.names(tailnet(1)).await.len(), polls);
    }
}

async fn an_answer_that_was_tampered_with_is_not_given(log: TestLog) {
    let things = TestThings::new(&log.log);
    assert_eq!(things.add("one").await.unwrap(), "one");
    log.execute("UPDATE kept_answers SET answer = request_hash")
        .await;
    assert_eq!(things.add("one").await.unwrap_err().code(), Code::Internal);
}
