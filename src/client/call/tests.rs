//! Tests of `client::call`.

use std::task::Context;

use super::*;
use bytes::Bytes;

use crate::protocol::ring::LayoutId;
use crate::protocol::wire::{Header, Kind};

fn answer(correlation: u64, body: &'static [u8]) -> Frame {
    Frame::new(Header::new(Kind::Pong, correlation, 0, LayoutId::default()), Bytes::from_static(body))
}

fn poll(call: &mut Call) -> Poll<Result<Frame, Lost>> {
    Pin::new(call).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn each_call_gets_its_own_answer() {
    let calls = Arc::new(Calls::default());
    let (mut a, mut b) = (calls.begin().unwrap(), calls.begin().unwrap());
    assert!(poll(&mut a).is_pending());
    calls.answer(answer(b.correlation(), b"b"));
    assert!(poll(&mut a).is_pending());
    calls.answer(answer(a.correlation(), b"a"));
    assert!(matches!(poll(&mut a), Poll::Ready(Ok(frame)) if frame.body == "a"));
    assert!(matches!(poll(&mut b), Poll::Ready(Ok(frame)) if frame.body == "b"));
}

#[test]
fn late_answer_does_not_reach_the_next_call_in_its_place() {
    let calls = Arc::new(Calls::default());
    let given_up = calls.begin().unwrap();
    let correlation = given_up.correlation();
    drop(given_up);
    let mut next = calls.begin().unwrap();
    assert_eq!(index(next.correlation()), index(correlation));
    calls.answer(answer(correlation, b"late"));
    assert!(poll(&mut next).is_pending());
    // An answer to a place that never was.
    calls.answer(answer(u64::MAX, b"made up"));
}

#[test]
fn lost_line_fails_what_waits_and_leaves_what_was_answered() {
    let calls = Arc::new(Calls::default());
    let (mut answered, mut waiting) = (calls.begin().unwrap(), calls.begin().unwrap());
    calls.answer(answer(answered.correlation(), b"in time"));
    calls.lose("gone");
    assert!(matches!(poll(&mut answered), Poll::Ready(Ok(_))));
    assert!(matches!(poll(&mut waiting), Poll::Ready(Err(Lost(reason))) if &*reason == "gone"));
    drop((answered, waiting));
    assert_eq!(calls.len(), 0);
}

#[test]
fn calls_are_bounded() {
    let calls = Arc::new(Calls::default());
    let all: Vec<_> = (0..CALLS_MAX).map(|_| calls.begin().unwrap()).collect();
    assert!(calls.begin().is_none());
    drop(all);
    assert!(calls.begin().is_some());
}
