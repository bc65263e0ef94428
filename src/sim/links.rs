//! Frames and links of the world: sending, arriving, breaking, reaching out again.

use bytes::Bytes;

use super::Event;
use super::finding::{Checker, Finding};
use super::mutation::Mutation;
use super::network::{Fate, Flight, Purpose, Route};
use super::node::{Asker, Input, SeatId};
use super::world::World;
use crate::protocol::shard::PeerIndex;
use crate::protocol::types::limits::FRAME_BYTES_MAX;
use crate::protocol::types::{ActorId, Durability, Instant, PartitionId};
use crate::protocol::version::{Dot, Siblings, VersionVector};
use crate::protocol::wire::{
    Frame, FrameDecoder, Header, Kind, MergeReply, MergeRequest, PutRequest, Refused, decode_any,
};

const MS: u64 = 1_000_000;

impl World {
    /// Sends a request to the shard of a peer that has a partition. False when the lane refuses it.
    pub(super) fn send(&mut self, seat: SeatId, peer: PeerIndex, partition: PartitionId, bytes: Bytes) -> bool {
        if self.network.refuses() {
            return false;
        }
        let to = u16::try_from(peer.as_index()).expect("a peer of at most 50");
        let shards = self.nodes[usize::from(to)].seats.len();
        let to_shard = u16::try_from(partition.as_index() % shards).expect("at most 4 shards");
        let epoch = self.network.link(Route::data(seat.node, to)).epoch;
        let mut flight = Flight {
            from: seat.node,
            to,
            from_shard: seat.shard,
            to_shard,
            answer: false,
            epoch,
            bytes,
            garbage: false,
        };
        if self.options.mutation.is_some() && self.mutate(&mut flight) {
            return true;
        }
        self.fly(&flight);
        true
    }

    /// Answers a client or a peer.
    pub(super) fn answer(&mut self, seat: SeatId, asker: Asker, bytes: Bytes) {
        match asker {
            Asker::Client { operation, attempt } => self.answer_client(operation, attempt, bytes),
            Asker::Peer { node, shard, epoch } => self.fly(&Flight {
                from: seat.node,
                to: node,
                from_shard: seat.shard,
                to_shard: shard,
                answer: true,
                epoch,
                bytes,
                garbage: false,
            }),
        }
    }

    fn fly(&mut self, flight: &Flight) {
        self.tally.frames += 1;
        self.tally.bytes += flight.bytes.len() as u64;
        if flight.bytes.len() > FRAME_BYTES_MAX {
            let text = format!("n{} sent a frame of {} bytes", flight.from + 1, flight.bytes.len());
            self.finding.get_or_insert(Finding::new(Checker::Bounds, text));
        }
        let garbage = self.network.garbage(&flight.bytes);
        match self.network.fate(self.now, flight) {
            Fate::Lost => {}
            Fate::Arrives(at) => self.heap.push(at, Event::Deliver(flight.clone())),
            Fate::ArrivesTwice(at, again) => {
                self.heap.push(at, Event::Deliver(flight.clone()));
                self.heap.push(again, Event::Deliver(flight.clone()));
            }
        }
        if let Some(bytes) = garbage {
            let flight = Flight { bytes, garbage: true, ..flight.clone() };
            if let Fate::Arrives(at) | Fate::ArrivesTwice(at, _) = self.network.fate(self.now, &flight) {
                self.heap.push(at, Event::Deliver(flight));
            }
        }
    }

    /// A frame arrives, in pieces, at the shard that it was sent to.
    pub(super) fn deliver(&mut self, flight: &Flight) {
        let (asker, answerer) = if flight.answer { (flight.to, flight.from) } else { (flight.from, flight.to) };
        let route = Route::data(asker, answerer);
        let link = *self.network.link(route);
        if !link.alive || link.epoch != flight.epoch {
            return;
        }
        let piece = self.network.piece(flight.bytes.len());
        let place = &mut self.nodes[usize::from(flight.to)].seats[usize::from(flight.to_shard)];
        let (first, rest) = flight.bytes.split_at(piece);
        place.decoder.extend(first);
        if !rest.is_empty() {
            let early = place.decoder.next_frame();
            assert!(matches!(early, Ok(None)), "a frame is whole only when all of it is there");
            place.decoder.extend(rest);
        }
        let Ok(Some(frame)) = place.decoder.next_frame() else {
            // A connection that sends what is no frame is closed.
            place.decoder = FrameDecoder::new(FRAME_BYTES_MAX);
            return self.break_link(route, MS);
        };
        if flight.garbage && self.options.mutation == Some(Mutation::PanicOnGarbage) {
            assert!(decode_any(&frame.body) > 0, "a frame that makes no sense ended the process");
        }
        if frame.kind() == Some(Kind::Put)
            && let Ok(put) = PutRequest::decode(frame.body.clone())
        {
            let node = self.identity(flight.to);
            self.oracle.asked(put.write_id, node);
        }
        let input = if flight.answer {
            Input::Answer { peer: flight.from, frame }
        } else {
            let asker = Asker::Peer { node: flight.from, shard: flight.from_shard, epoch: flight.epoch };
            Input::Request { asker, frame, arrived: Instant::from_nanos(self.now) }
        };
        self.hand(SeatId { node: flight.to, shard: flight.to_shard }, input);
    }

    /// A connection breaks; its asker notices after a while.
    pub(super) fn break_link(&mut self, route: Route, notice: u64) {
        let link = self.network.link(route);
        if !link.alive {
            return;
        }
        link.alive = false;
        link.epoch += 1;
        let epoch = link.epoch;
        self.heap.push(self.now + notice, Event::LinkDown { route, epoch });
    }

    /// The asker notices that its connection broke.
    pub(super) fn link_down(&mut self, route: Route, epoch: u32) {
        let link = self.network.link(route);
        if link.alive || !link.told || link.epoch != epoch {
            return;
        }
        link.told = false;
        self.tell_link(route, false);
        let after = self.network.delay(MS, 100 * MS);
        self.heap.push(self.now + after, Event::LinkTry { route });
    }

    /// The asker reaches out. When it cannot, whatever mends the way lets it try again.
    pub(super) fn link_try(&mut self, route: Route) {
        let Route { asker, answerer, .. } = route;
        let running = |number: u16| self.nodes.get(usize::from(number)).is_some_and(|node| node.running);
        // Nobody dials a twin: the roster has one address of a node.
        if answerer >= self.options.nodes
            || !running(asker)
            || !running(answerer)
            || !self.network.open(asker, answerer)
        {
            return;
        }
        let link = self.network.link(route);
        if link.alive || link.told || !self.lets_in(route) {
            return;
        }
        let link = self.network.link(route);
        link.alive = true;
        link.told = true;
        link.epoch += 1;
        self.tell_link(route, true);
    }

    /// A cut has lasted for as long as a connection lives without hearing anything.
    pub(super) fn link_idle(&mut self, route: Route, epoch: u32) {
        let open = self.network.open(route.asker, route.answerer);
        let link = *self.network.link(route);
        if !open && link.alive && link.epoch == epoch {
            self.break_link(route, 0);
        }
    }

    fn tell_link(&mut self, route: Route, up: bool) {
        let Route { asker, answerer, purpose } = route;
        if purpose == Purpose::Control {
            return self.tell_gossip(asker, answerer, up);
        }
        for shard in 0..self.nodes[usize::from(asker)].seats.len() {
            let shard = u16::try_from(shard).expect("at most 4 shards");
            self.hand(SeatId { node: asker, shard }, Input::Link { peer: answerer, up });
        }
    }

    /// A process ended: its connections are gone, and its peers notice sooner or later.
    pub(super) fn break_links_of(&mut self, number: u16) {
        for other in (0..self.options.nodes).filter(|other| *other != number) {
            for own in Route::both(number, other) {
                let own = self.network.link(own);
                own.alive = false;
                own.told = false;
                own.epoch += 1;
            }
            for theirs in Route::both(other, number) {
                let notice = self.network.delay(MS, 1_500 * MS);
                self.break_link(theirs, notice);
            }
        }
    }

    /// A process started: it reaches out, and the others reach it.
    pub(super) fn try_links_of(&mut self, number: u16) {
        for other in (0..self.options.nodes).filter(|other| *other != number) {
            for route in Route::both(number, other).into_iter().chain(Route::both(other, number)) {
                let after = self.network.delay(MS, 20 * MS);
                self.heap.push(self.now + after, Event::LinkTry { route });
            }
        }
    }

    /// Cuts one direction, or mends it.
    pub(super) fn cut(&mut self, from: u16, to: u16, add: bool) {
        self.network.cut(from, to, add);
        for route in Route::both(from, to).into_iter().chain(Route::both(to, from)) {
            let (event, low, high) = if add {
                let epoch = self.network.link(route).epoch;
                (Event::LinkIdle { route, epoch }, 100 * MS, 3_000 * MS)
            } else {
                (Event::LinkTry { route }, MS, 100 * MS)
            };
            let after = self.network.delay(low, high);
            self.heap.push(self.now + after, event);
        }
    }

    /// Lets a mutation have its way with a request between nodes. True when the frame goes no further.
    fn mutate(&mut self, flight: &mut Flight) -> bool {
        let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX);
        decoder.extend(&flight.bytes);
        let Ok(Some(frame)) = decoder.next_frame() else { return false };
        if frame.kind() == Some(Kind::Hint) && self.options.mutation == Some(Mutation::LoseHint) {
            self.confirm(flight, &frame, Kind::HintReply);
            return true;
        }
        if frame.kind() != Some(Kind::Merge) {
            return false;
        }
        let Ok(request) = MergeRequest::decode(frame.body.clone()) else { return false };
        let Ok(item) = Siblings::decode(&request.record) else { return false };
        let is_new = |dot| self.oracle.newest.contains(&dot);
        let carries_new = item.versions().iter().any(|version| is_new(version.dot));
        let changed = match self.options.mutation {
            Some(Mutation::SkipWriteBack) if !carries_new => None,
            Some(Mutation::ConfirmUnstored) if self.mutants.chance(300_000) => None,
            Some(Mutation::SendNewVersionOnly) if carries_new => {
                let new = item.versions().iter().filter(|version| is_new(version.dot)).cloned().collect();
                Siblings::from_parts(item.vector().clone(), new)
            }
            Some(Mutation::RemintForwarded) if carries_new && self.mutants.chance(300_000) => {
                let actor = ActorId::new(self.mutants.bits());
                let mut versions = item.versions().to_vec();
                for version in versions.iter_mut().filter(|version| is_new(version.dot)) {
                    version.dot = Dot::new(actor, version.dot.counter());
                }
                versions.sort_by_key(|version| version.dot);
                Siblings::from_parts(item.vector().clone(), versions)
            }
            Some(Mutation::DropContextOnMerge) => Siblings::from_parts(VersionVector::new(), item.versions().to_vec()),
            _ => return false,
        };
        if let Some(changed) = changed {
            let request = MergeRequest { address: request.address, record: changed.to_record() };
            flight.bytes = Frame::build(frame.header, request.body_bytes(), |out| request.encode(out));
            return false;
        }
        self.confirm(flight, &frame, Kind::MergeReply);
        true
    }

    /// Confirms what never arrives.
    fn confirm(&mut self, flight: &Flight, frame: &Frame, kind: Kind) {
        let header = Header { kind: kind.as_u8(), ..frame.header };
        let fsynced = self.options.durability == Durability::Sync;
        let reply = MergeReply { fsynced, refused: Refused::default() };
        let bytes = Frame::build(header, MergeReply::BODY_BYTES, |out| reply.encode(out));
        self.heap.push(
            self.now + MS,
            Event::Deliver(Flight {
                from: flight.to,
                to: flight.from,
                from_shard: flight.to_shard,
                to_shard: flight.from_shard,
                answer: true,
                epoch: flight.epoch,
                bytes,
                garbage: false,
            }),
        );
    }
}
