//! Order, priority and bounds of lanes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use proptest::prelude::*;

use super::fixture::*;
use crate::pki::Role;
use crate::protocol::wire::{Frame, FrameDecoder, Kind};
use crate::transport::lane::{LANE_BYTES_MAX, gather};
use crate::transport::{Class, LaneError, LaneSender, Peer};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

#[tokio::test]
async fn thousands_of_pipelined_frames_come_back_in_order() {
    let world = World::new();
    let server = world.serve(echo);
    let talk = world.converse(Role::Node(PEER), &server).await;
    let count = 20_000;
    for n in 0..count {
        // Small ones, which share a piece, and larger ones between them.
        let body = vec![b'x'; if n % 7 == 0 { 3000 } else { 90 }];
        talk.send(Class::Normal, frame(Kind::Get, n, body)).await;
    }
    talk.heard(usize::try_from(count).unwrap()).await;
    let frames = talk.heard.frames.lock().unwrap();
    assert!(frames.iter().map(|frame| frame.header.correlation).eq(0..count));
    assert!(frames.iter().all(|frame| frame.body.len() == if frame.header.correlation % 7 == 0 { 3000 } else { 90 }));
}

#[tokio::test]
async fn large_frame_on_bulk_does_not_hold_up_requests() {
    let world = World::new();
    let server = world.serve(echo);
    let talk = world.converse(Role::Node(PEER), &server).await;
    let large = u64::MAX;
    talk.send(Class::Bulk, frame(Kind::Get, large, vec![0; 48 * MIB])).await;
    // One at a time, so that each has to get past what is left of the large one.
    for n in 0..20 {
        talk.send(Class::Normal, frame(Kind::Get, n, &b"small"[..])).await;
        let heard = talk.heard.clone();
        until("a small answer", || heard.frames.lock().unwrap().iter().any(|f| f.header.correlation == n)).await;
    }
    talk.heard(21).await;
    let frames = talk.heard.frames.lock().unwrap();
    let place = frames.iter().position(|frame| frame.header.correlation == large).unwrap();
    assert!(place >= 10, "the large answer was number {place} of 21");
    assert_eq!(frames[place].body.len(), 48 * MIB);
}

#[tokio::test]
async fn full_lane_fails_at_once_while_the_peer_does_not_read() {
    let world = World::new();
    let received = Arc::new(AtomicUsize::new(0));
    let counter = received.clone();
    let server = world.serve(move |_: &Peer, _: &LaneSender, _: Frame| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let talk = world.converse(Role::Node(PEER), &server).await;
    server.gate.shut();
    let piece = frame(Kind::Get, 1, vec![0; 64 * KIB]);
    let (mut sent, mut full) = (0, 0);
    // As long as it takes to fill the windows of both ends, and then as often again.
    while full < 20_000 {
        match talk.lanes.send(Class::Normal, piece.clone()) {
            Ok(()) => sent += 1,
            Err(LaneError::Full { waiting }) => {
                assert!(waiting <= LANE_BYTES_MAX);
                full += 1;
                tokio::task::yield_now().await;
            }
            Err(LaneError::Closed) => panic!("closed: {:?}", talk.heard.end()),
        }
    }
    // 4 MiB in the lane, 8 MiB in this end's QUIC, 16 MiB in the other's, and what a reader had in hand.
    assert!(sent * piece.len() <= 30 * MIB, "{sent} frames were taken");
    assert!(sent * piece.len() >= 4 * MIB, "{sent} frames were taken");
    assert!(received.load(Ordering::Relaxed) < sent);
    server.gate.open();
    until("all frames that were taken", || received.load(Ordering::Relaxed) == sent).await;
    until("room in the lane", || talk.lanes.send(Class::Normal, piece.clone()).is_ok()).await;
}

#[tokio::test]
async fn gate_that_is_shut_does_not_hide_the_end_of_the_connection() {
    let world = World::new();
    let server = world.serve(echo);
    server.gate.shut();
    let talk = world.converse(Role::Node(PEER), &server).await;
    talk.peer.close(crate::transport::CloseCode::Done, "enough");
    server.ended_with("enough").await;
}

#[test]
fn lane_takes_one_frame_above_its_bound_when_it_is_empty() {
    let (sender, queue) = LaneSender::new();
    sender.try_send(vec![0; LANE_BYTES_MAX + 1].into()).unwrap();
    let waiting = LANE_BYTES_MAX + 1;
    assert_eq!(sender.try_send(Bytes::from_static(b"x")), Err(LaneError::Full { waiting }));
    drop(queue);
    assert_eq!(sender.try_send(Bytes::from_static(b"x")), Err(LaneError::Closed));
}

#[test]
fn lane_takes_frames_up_to_its_bound() {
    let (sender, _queue) = LaneSender::new();
    let half = Bytes::from(vec![0; LANE_BYTES_MAX / 2]);
    sender.try_send(half.clone()).unwrap();
    sender.try_send(half.clone()).unwrap();
    assert_eq!(sender.waiting(), LANE_BYTES_MAX);
    assert!(sender.try_send(Bytes::from_static(b"x")).is_err());
    assert!(sender.is_open());
}

proptest! {
    /// Copying small frames together changes neither their bytes nor their order, and leaves large ones alone.
    #[test]
    fn gathering_keeps_every_byte(sizes in prop::collection::vec(0_usize..1200, 0..40)) {
        let frames: Vec<Bytes> =
            (0..).zip(&sizes).map(|(n, size)| frame(Kind::Get, n, vec![0x5a; *size])).collect();
        let mut batch = frames.clone();
        gather(&mut batch);
        prop_assert_eq!(batch.concat(), frames.concat());
        let mut decoder = FrameDecoder::new(MIB);
        batch.iter().for_each(|piece| decoder.extend(piece));
        for (n, size) in (0..).zip(&sizes) {
            let frame = decoder.next_frame().unwrap().unwrap();
            prop_assert_eq!((frame.header.correlation, frame.body.len()), (n, *size));
        }
        // Two small ones never stand side by side.
        prop_assert!(batch.windows(2).all(|pair| pair.iter().any(|piece| piece.len() > 512) || sizes.is_empty()));
    }
}
