//! Requests and their answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::fixture::*;
use crate::protocol::types::limits::BULK_FRAME_BYTES;
use crate::protocol::wire::{Failure, FailureCode, Frame, Kind};
use crate::transport::service::failure_frame;
use crate::transport::*;

const BUDGET: Duration = Duration::from_secs(20);

async fn exchange(world: &World, server: &Server) -> Exchange {
    let session = world.connect(client(), server).await.unwrap();
    let (exchange, running) = Exchange::open(session, Arc::default()).await.unwrap();
    tokio::spawn(running);
    exchange
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_requests_gets_its_own_answer() {
    let world = World::new();
    let server = world.serve(echo);
    let exchange = exchange(&world, &server).await;
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..2000_usize {
        let exchange = exchange.clone();
        asking.spawn(async move {
            // Some of them by the bulk lane, and so out of order.
            let bytes = if n % 50 == 0 { BULK_FRAME_BYTES + n } else { n };
            let body = Bytes::from(vec![u8::try_from(n % 251).unwrap(); bytes]);
            let answer = exchange.request(Kind::Get, body.clone(), BUDGET).await.unwrap();
            assert_eq!(answer.body, body);
        });
    }
    while let Some(asked) = within("an answer", asking.join_next()).await {
        asked.unwrap();
    }
    assert_eq!(exchange.in_flight(), 0);
}

#[tokio::test]
async fn request_without_an_answer_ends_with_its_budget() {
    let world = World::new();
    let server = world.serve(|_: &Peer, _: &LaneSender, _: Frame| {});
    let exchange = exchange(&world, &server).await;
    let budget = Duration::from_millis(50);
    let error = exchange.request(Kind::Get, Bytes::new(), budget).await.unwrap_err();
    assert_eq!(error, ExchangeError::TimedOut { kind: Kind::Get, budget });
    assert_eq!(error.to_string(), "no answer to Get within 50 ms");
    assert_eq!(exchange.in_flight(), 0);
}

#[tokio::test]
async fn failure_comes_back_as_such() {
    let world = World::new();
    let server = world.serve(|_: &Peer, lane: &LaneSender, asked: Frame| {
        let failure = Failure::new(FailureCode::Overloaded, "the inbox is full");
        lane.try_send(failure_frame(asked.header.correlation, &failure)).unwrap();
    });
    let exchange = exchange(&world, &server).await;
    let error = exchange.request(Kind::Get, Bytes::new(), BUDGET).await.unwrap_err();
    assert_eq!(error, ExchangeError::Refused(Failure::new(FailureCode::Overloaded, "the inbox is full")));
}

#[tokio::test]
async fn requests_in_flight_fail_with_the_reason_when_the_session_ends() {
    let world = World::new();
    let server = world.serve(|peer: &Peer, _: &LaneSender, _: Frame| peer.close(CloseCode::Done, "n1 is stopping"));
    let exchange = exchange(&world, &server).await;
    let error = exchange.request(Kind::Get, Bytes::new(), BUDGET).await.unwrap_err();
    assert!(matches!(&error, ExchangeError::Lost(reason) if reason.contains("n1 is stopping")), "{error}");
    let error = exchange.request(Kind::Get, Bytes::new(), BUDGET).await.unwrap_err();
    assert!(matches!(&error, ExchangeError::Down(reason) if reason.contains("n1 is stopping")), "{error}");
    assert!(!exchange.is_up());
}

#[tokio::test]
async fn late_answer_does_not_reach_the_next_request() {
    let world = World::new();
    // Answers each request with the body of the one before, under that one's correlation, then properly.
    let before = Arc::new(std::sync::Mutex::new(None::<u64>));
    let server = world.serve(move |peer: &Peer, lane: &LaneSender, asked: Frame| {
        if asked.body.is_empty() {
            *before.lock().unwrap() = Some(asked.header.correlation);
            return;
        }
        let late = before.lock().unwrap().unwrap();
        lane.try_send(frame(Kind::GetReply, late, &b"late"[..])).unwrap();
        echo(peer, lane, asked);
    });
    let exchange = exchange(&world, &server).await;
    exchange.request(Kind::Get, Bytes::new(), Duration::from_millis(50)).await.unwrap_err();
    let answer = exchange.request(Kind::Get, Bytes::from_static(b"mine"), BUDGET).await.unwrap();
    assert_eq!(answer.body, "mine");
}

#[tokio::test]
async fn dropping_the_exchange_ends_the_session() {
    let world = World::new();
    let server = world.serve(echo);
    let exchange = exchange(&world, &server).await;
    exchange.request(Kind::Get, Bytes::new(), BUDGET).await.unwrap();
    drop(exchange);
    server.ended_with("there is no more use for the session").await;
}
