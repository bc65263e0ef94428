//! The answering side of a session: every lane that the peer opens, read and answered.
//!
//! Before a frame's body is looked at, its header is: what this program does not know is answered `Unsupported`, what
//! the sender's certificate does not allow `NotAllowed`, and neither is delivered. A frame that cannot be cut out of
//! the stream ends the session with the reason, because nothing after it can be trusted; the process and its other
//! sessions go on.

use std::sync::Arc;

use bytes::Bytes;

use super::bundle::Bundle;
use super::closing::explain;
use super::gate::Gate;
use super::lane::{Class, LaneError, LaneQueue, LaneSender, read_lane, write_lane};
use super::purse::Purse;
use super::session::{Peer, Session, SessionError};
use super::settings::Purpose;
use super::tally::{Event, Tally};
use super::tenure::{End, Tenure};
use crate::protocol::ring::LayoutId;
use crate::protocol::wire::{
    Failure, FailureCode, Frame, FrameDecoder, Header, Kind, PROTOCOL_VERSION, encode_control,
};

/// Takes what a peer asks. A closure that takes frames is one.
pub trait Handler {
    /// A frame that its sender may ask. Answers go to the lane that it came by, now or later. Must not block.
    fn on_frame(&self, peer: &Peer, lane: &LaneSender, frame: Frame);

    /// A datagram, on control connections.
    fn on_datagram(&self, peer: &Peer, datagram: Bytes) {
        let _: (&Peer, Bytes) = (peer, datagram);
    }
}

impl<F: Fn(&Peer, &LaneSender, Frame)> Handler for F {
    fn on_frame(&self, peer: &Peer, lane: &LaneSender, frame: Frame) {
        self(peer, lane, frame);
    }
}

/// The failure that answers a frame which was not carried out, as a frame.
#[must_use]
pub fn failure_frame(correlation: u64, failure: &Failure) -> Bytes {
    Frame::new(Header::new(Kind::Error, correlation, 0, LayoutId::default()), encode_control(failure)).to_bytes()
}

/// What this program cannot understand about a header, if anything.
pub(super) fn unsupported(header: &Header) -> Option<Failure> {
    let text = if header.has_unknown_critical_flag() {
        format!("the frame has critical flags {:#06x}, which this program does not know", header.flags)
    } else if Kind::from_u8(header.kind).is_none() {
        format!(
            "frames of kind {} are unknown to this program, which speaks protocol version {PROTOCOL_VERSION}",
            header.kind
        )
    } else {
        return None;
    };
    Some(Failure::new(FailureCode::Unsupported, text))
}

/// One thing that goes on in a session.
enum Part {
    /// Waits for the next lane.
    Accept,
    /// Reads one.
    Read(quinn::RecvStream, LaneSender),
    /// Writes one.
    Write(quinn::SendStream, LaneQueue),
    /// Reads datagrams.
    Datagrams,
    /// Waits for the end of what the session may last.
    Tenure(Tenure),
}

/// What became of a part.
enum Outcome {
    Accepted(quinn::SendStream, quinn::RecvStream),
    Finished,
}

/// What the parts share.
struct Service<H> {
    peer: Peer,
    frame_bytes_max: usize,
    gate: Option<Gate>,
    tally: Arc<Tally>,
    handler: H,
    purse: Option<Purse>,
}

impl Session {
    /// Runs the session until it ends, and says why it did. At most [`super::settings::LANES_MAX`] lanes are open at
    /// once: QUIC gives the peer no leave for more.
    pub async fn serve<H: Handler>(self, gate: Option<Gate>, tally: Arc<Tally>, handler: H) -> SessionError {
        let frame_bytes_max = self.frame_bytes_max();
        let _enrolled = tally.enrol(self.peer.connection());
        let tenure = Tenure::begin(&self.peer, End::Accepting, self.renewals);
        let service = Service { peer: self.peer, frame_bytes_max, gate, tally, handler, purse: self.purse };
        let mut parts = Bundle::new();
        service.add_lane(&mut parts, Class::Normal, (self.send, self.receive), Service::run);
        parts.add(service.run(Part::Accept));
        parts.add(service.run(Part::Tenure(tenure)));
        if self.terms.purpose == Purpose::Control {
            parts.add(service.run(Part::Datagrams));
        }
        let error = loop {
            match parts.next().await {
                Ok(Outcome::Finished) => {}
                Ok(Outcome::Accepted(send, receive)) => {
                    service.add_lane(&mut parts, Class::Bulk, (send, receive), Service::run);
                    parts.add(service.run(Part::Accept));
                }
                Err(error) => break error,
            }
        };
        if error.is_malformed() {
            service.tally.count(Event::Malformed);
            tracing::warn!(peer = ?service.peer, %error, "a session was ended");
        }
        error.end(service.peer.connection());
        error
    }
}

impl<H: Handler> Service<H> {
    /// Adds a lane's reader and writer. `run` is [`Service::run`]: its future has no name that could stand in the
    /// bundle's type.
    fn add_lane<'a, F: Future>(
        &'a self,
        parts: &mut Bundle<F>,
        class: Class,
        (send, receive): (quinn::SendStream, quinn::RecvStream),
        run: impl Fn(&'a Self, Part) -> F,
    ) {
        if let Err(error) = send.set_priority(class.priority()) {
            tracing::debug!(peer = ?self.peer, %error, "a lane was gone at once");
        }
        let (sender, queue) = LaneSender::paid_from(self.purse.clone());
        parts.add(run(self, Part::Write(send, queue)));
        parts.add(run(self, Part::Read(receive, sender)));
    }

    async fn run(&self, part: Part) -> Result<Outcome, SessionError> {
        match part {
            Part::Accept => {
                let accepted = self.peer.connection().accept_bi().await;
                let (send, receive) = accepted.map_err(|error| SessionError::Lost(explain(&error)))?;
                Ok(Outcome::Accepted(send, receive))
            }
            Part::Read(stream, lane) => {
                let decoder = FrameDecoder::new(self.frame_bytes_max);
                let on_frame = |frame| self.screen(&lane, frame);
                let pressure = (self.gate.as_ref(), Some(&lane));
                read_lane(self.peer.connection(), stream, decoder, pressure, on_frame).await?;
                Ok(Outcome::Finished)
            }
            Part::Write(stream, queue) => write_lane(queue, stream).await.map(|()| Outcome::Finished),
            Part::Datagrams => loop {
                let datagram = self.peer.read_datagram().await?;
                self.handler.on_datagram(&self.peer, datagram);
            },
            Part::Tenure(tenure) => Err(tenure.over().await),
        }
    }

    /// Delivers a frame, or answers why not.
    fn screen(&self, lane: &LaneSender, frame: Frame) -> Result<(), SessionError> {
        let refusal = match frame.kind() {
            Some(Kind::Hello) => return Err(SessionError::SecondHello),
            // Two ends that answer each other's errors would never stop.
            Some(Kind::Error) => return Ok(()),
            kind => unsupported(&frame.header).or_else(|| kind.and_then(|kind| self.forbidden(kind))),
        };
        let Some(failure) = refusal else {
            self.handler.on_frame(&self.peer, lane, frame);
            return Ok(());
        };
        self.tally.count(match failure.code {
            FailureCode::NotAllowed => Event::NotAllowed,
            _ => Event::Unsupported,
        });
        tracing::debug!(peer = ?self.peer, %failure, "a frame was refused");
        match lane.try_send(failure_frame(frame.header.correlation, &failure)) {
            // Whoever asks what it may not and never reads the answers loses nothing by losing one.
            Ok(()) | Err(LaneError::Full { .. } | LaneError::Closed) => Ok(()),
        }
    }

    fn forbidden(&self, kind: Kind) -> Option<Failure> {
        if kind.may_ask(self.peer.sender()) {
            return None;
        }
        let role = &self.peer.identity().role;
        let text = format!("{role} may not send frames of kind {kind:?}: its certificate is of a {}", role.kind());
        Some(Failure::new(FailureCode::NotAllowed, text))
    }
}
