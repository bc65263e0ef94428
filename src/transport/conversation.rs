//! The asking side of a session: two lanes, of which the second may be slow.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::bundle::Bundle;
use super::closing::explain;
use super::gate::Gate;
use super::lane::{Class, LaneError, LaneQueue, LaneSender, read_lane, write_lane};
use super::service::unsupported;
use super::session::{Peer, Session, SessionError};
use super::settings::Purpose;
use super::tally::{Event, Tally};
use super::tenure::{End, Tenure};
use crate::protocol::ring::LayoutId;
use crate::protocol::wire::{Frame, FrameDecoder, Header, Kind, encode_control};

/// The sending ends of a session's lanes. When the last clone is dropped, the session ends.
#[derive(Debug, Clone)]
pub struct Lanes {
    normal: LaneSender,
    bulk: LaneSender,
}

impl Lanes {
    /// Queues a frame. Never waits.
    pub fn send(&self, class: Class, frame: Bytes) -> Result<(), LaneError> {
        self.lane(class).try_send(frame)
    }

    /// One of the two.
    #[must_use]
    pub const fn lane(&self, class: Class) -> &LaneSender {
        match class {
            Class::Normal => &self.normal,
            Class::Bulk => &self.bulk,
        }
    }
}

/// The other ends of [`Lanes`]; has to be run.
#[derive(Debug)]
pub struct Conversation {
    peer: Peer,
    purpose: Purpose,
    frame_bytes_max: usize,
    streams: [(quinn::SendStream, quinn::RecvStream, LaneQueue); 2],
    tenure: Tenure,
}

/// Takes what a peer answers.
pub(super) trait Listener {
    /// An answer, or an Error in place of one that this program does not understand.
    fn on_frame(&self, frame: Frame);
    /// A datagram, on control connections.
    fn on_datagram(&self, datagram: Bytes);
}

/// One thing that goes on in a conversation.
enum Part {
    Read(quinn::RecvStream),
    Write(quinn::SendStream, LaneQueue),
    Datagrams,
    Tenure(Tenure),
}

/// Which kind of part has finished.
enum Outcome {
    Read,
    Written,
}

impl Session {
    /// Opens the second lane. Frames may be sent at once; they leave when the conversation is run.
    pub async fn converse(self) -> Result<(Lanes, Conversation), SessionError> {
        let frame_bytes_max = self.frame_bytes_max();
        let connection = self.peer.connection();
        let opened = connection.open_bi().await;
        let (send, receive) = opened.map_err(|error| SessionError::Lost(explain(&error)))?;
        if let Err(error) = send.set_priority(Class::Bulk.priority()) {
            tracing::debug!(peer = ?self.peer, %error, "a lane was gone at once");
        }
        let (normal, normal_queue) = LaneSender::new();
        let (bulk, bulk_queue) = LaneSender::new();
        let streams = [(self.send, self.receive, normal_queue), (send, receive, bulk_queue)];
        let tenure = Tenure::begin(&self.peer, End::Connecting, self.renewals);
        let (peer, purpose) = (self.peer, self.terms.purpose);
        let conversation = Conversation { peer, purpose, frame_bytes_max, streams, tenure };
        Ok((Lanes { normal, bulk }, conversation))
    }
}

impl Conversation {
    /// Who is at the other end.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// When a successor is to be begun. `jitter` is a random number.
    pub(super) fn renew_at(&self, jitter: u64) -> Instant {
        self.tenure.renew_at(jitter)
    }

    /// Runs both lanes until the session ends, and says why it did.
    pub(super) async fn run(self, gate: Option<Gate>, tally: Arc<Tally>, listener: &impl Listener) -> SessionError {
        let Self { peer, purpose, frame_bytes_max, streams, tenure } = self;
        let _enrolled = tally.enrol(peer.connection());
        let run = async |part| match part {
            Part::Write(stream, queue) => write_lane(queue, stream).await.map(|()| Outcome::Written),
            Part::Read(stream) => {
                let decoder = FrameDecoder::new(frame_bytes_max);
                let on_frame = |frame| screen(frame, &tally, listener);
                read_lane(peer.connection(), stream, decoder, (gate.as_ref(), None), on_frame).await?;
                Ok(Outcome::Read)
            }
            Part::Datagrams => loop {
                listener.on_datagram(peer.read_datagram().await?);
            },
            Part::Tenure(tenure) => Err(tenure.over().await),
        };
        let mut parts = Bundle::new();
        parts.add(run(Part::Tenure(tenure)));
        let mut writers = streams.len();
        for (send, receive, queue) in streams {
            parts.add(run(Part::Write(send, queue)));
            parts.add(run(Part::Read(receive)));
        }
        if purpose == Purpose::Control {
            parts.add(run(Part::Datagrams));
        }
        let error = loop {
            match parts.next().await {
                Ok(Outcome::Written) if writers > 1 => writers -= 1,
                // The last writer finishes when nobody can send any more.
                Ok(Outcome::Written) => break SessionError::Done,
                Ok(Outcome::Read) => break SessionError::Lost("the peer finished a lane".to_owned()),
                Err(error) => break error,
            }
        };
        if error.is_malformed() {
            tally.count(Event::Malformed);
            tracing::warn!(?peer, %error, "a session was ended");
        }
        // Parts that are dropped close their lanes: whoever sends from here on is told.
        error.end(peer.connection());
        error
    }
}

/// Delivers an answer. One that cannot be understood becomes an Error with its correlation, so the asker does not wait.
fn screen(frame: Frame, tally: &Tally, listener: &impl Listener) -> Result<(), SessionError> {
    if let Some(failure) = unsupported(&frame.header) {
        tally.count(Event::Unsupported);
        let header = Header::new(Kind::Error, frame.header.correlation, 0, LayoutId::default());
        listener.on_frame(Frame::new(header, encode_control(&failure)));
        return Ok(());
    }
    match frame.kind() {
        Some(kind) if kind.is_reply() => {
            listener.on_frame(frame);
            Ok(())
        }
        _ => Err(SessionError::Asked(frame.header.kind)),
    }
}
