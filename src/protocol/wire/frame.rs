//! Frames: the header, and cutting a stream of bytes into them.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::WireError;
use super::kind::Kind;
use crate::protocol::ring::LayoutId;

/// The protocol version that this program speaks.
pub const PROTOCOL_VERSION: u8 = 1;
/// Bytes of a header, its length field included.
pub const HEADER_BYTES: usize = 32;

/// Flags from here up must be understood; an unknown one below may be ignored.
const FLAGS_CRITICAL: u16 = 0xff00;
/// A client's request passed on by a node that is no replica of its key; it is not passed on again.
const FLAG_FORWARDED: u16 = 1;
/// The answer is wanted only once what it confirms is fsynced, whatever the durability.
const FLAG_FSYNC: u16 = 2;
/// Another owner, which counts, holds what this replica called obsolete: it is to take it back.
const FLAG_CONTESTED: u16 = 4;
/// The head of a large item will do: its asker has, or asks somebody else for, the values.
const FLAG_HEAD: u16 = 8;

/// What is known of a frame before its body is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The kind's number; it may be one that this program does not know.
    pub kind: u8,
    /// See [`Header::forwarded`]; bits of the upper half are critical.
    pub flags: u16,
    /// The asker's name for the request; the answer carries it back.
    pub correlation: u64,
    /// How long the asker will wait, milliseconds from sending.
    pub budget_ms: u32,
    /// The number of the newest layout that the sender knows; 0 for none.
    pub layout_number: u32,
    /// The first 64 bits of that layout's hash.
    pub layout_hash: u64,
}

/// A frame with its body still encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The header.
    pub header: Header,
    /// The body, a slice of the receive buffer.
    pub body: Bytes,
}

impl Header {
    /// The header of a message that needs no flags.
    #[must_use]
    pub const fn new(kind: Kind, correlation: u64, budget_ms: u32, layout: LayoutId) -> Self {
        Self {
            kind: kind.as_u8(),
            flags: 0,
            correlation,
            budget_ms,
            layout_number: layout.number(),
            layout_hash: layout.hash_prefix(),
        }
    }

    /// Whether a node passed this client's request on.
    #[must_use]
    pub const fn forwarded(&self) -> bool {
        self.flags & FLAG_FORWARDED != 0
    }

    /// The same header, marked as passed on.
    #[must_use]
    pub const fn as_forwarded(mut self) -> Self {
        self.flags |= FLAG_FORWARDED;
        self
    }

    /// Whether the asker wants to hear only of what is fsynced. A node that does not know the flag answers that its
    /// copy is not.
    #[must_use]
    pub const fn wants_fsync(&self) -> bool {
        self.flags & FLAG_FSYNC != 0
    }

    /// The same header, for an answer that waits for an fsync.
    #[must_use]
    pub const fn with_fsync(mut self) -> Self {
        self.flags |= FLAG_FSYNC;
        self
    }

    /// Whether the sender knows another owner that holds what this replica called obsolete.
    #[must_use]
    pub const fn is_contested(&self) -> bool {
        self.flags & FLAG_CONTESTED != 0
    }

    /// The same header, for an item that is to be taken back.
    #[must_use]
    pub const fn as_contested(mut self) -> Self {
        self.flags |= FLAG_CONTESTED;
        self
    }

    /// Whether the head of a large item is answer enough. A node that does not know the flag sends the whole item.
    #[must_use]
    pub const fn wants_head(&self) -> bool {
        self.flags & FLAG_HEAD != 0
    }

    /// The same header, for a read to which a head is answer enough.
    #[must_use]
    pub const fn with_head(mut self) -> Self {
        self.flags |= FLAG_HEAD;
        self
    }

    /// Whether the frame demands something that this program does not know of.
    #[must_use]
    pub const fn has_unknown_critical_flag(&self) -> bool {
        self.flags & FLAGS_CRITICAL != 0
    }

    /// Whether the sender's newest layout is this one.
    #[must_use]
    pub const fn names(&self, layout: LayoutId) -> bool {
        self.layout_number == layout.number() && self.layout_hash == layout.hash_prefix()
    }

    /// Appends the header for a body of this many bytes.
    pub fn encode(&self, body_bytes: usize, out: &mut impl BufMut) {
        let length = HEADER_BYTES - 4 + body_bytes;
        out.put_u32(u32::try_from(length).expect("a frame is bounded by 64 MiB"));
        out.put_u8(PROTOCOL_VERSION);
        out.put_u8(self.kind);
        out.put_u16(self.flags);
        out.put_u64(self.correlation);
        out.put_u32(self.budget_ms);
        out.put_u32(self.layout_number);
        out.put_u64(self.layout_hash);
    }
}

impl Frame {
    /// A frame from a header and an encoded body.
    #[must_use]
    pub const fn new(header: Header, body: Bytes) -> Self {
        Self { header, body }
    }

    /// The kind, when this program knows it.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        Kind::from_u8(self.header.kind)
    }

    /// Header and body in one buffer.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER_BYTES + self.body.len());
        self.header.encode(self.body.len(), &mut out);
        out.extend_from_slice(&self.body);
        out.freeze()
    }

    /// Encodes a message of known length straight behind its header.
    pub fn build(header: Header, body_bytes: usize, lay: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let mut out = Vec::with_capacity(HEADER_BYTES + body_bytes);
        header.encode(body_bytes, &mut out);
        lay(&mut out);
        assert_eq!(out.len(), HEADER_BYTES + body_bytes, "a message's length is computed before it is laid");
        out.into()
    }
}

/// Cuts what a lane delivers into frames. Holds at most one incomplete frame, and of that only what has arrived.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: BytesMut,
    limit: usize,
}

impl FrameDecoder {
    /// A decoder that refuses frames above `limit` bytes as soon as their length is known.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit }
    }

    /// Takes what arrived.
    pub fn extend(&mut self, chunk: &[u8]) {
        // Large steps, so that frames of one burst share one allocation.
        if self.buffer.capacity() - self.buffer.len() < chunk.len() {
            self.buffer.reserve(chunk.len().max(64 * 1024));
        }
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole frame, when there is one.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, WireError> {
        let Some(mut front) = self.buffer.get(..4) else { return Ok(None) };
        let length = usize::try_from(front.get_u32()).unwrap_or(usize::MAX);
        if length > self.limit {
            return Err(WireError::Oversized { found: length, limit: self.limit });
        }
        if length < HEADER_BYTES - 4 {
            return Err(WireError::Field { what: "length", found: length as u64 });
        }
        if self.buffer.len() < 4 + length {
            return Ok(None);
        }
        let mut body = self.buffer.split_to(4 + length).freeze();
        body.advance(4);
        let version = body.get_u8();
        if version != PROTOCOL_VERSION {
            return Err(WireError::Version(version));
        }
        let header = Header {
            kind: body.get_u8(),
            flags: body.get_u16(),
            correlation: body.get_u64(),
            budget_ms: body.get_u32(),
            layout_number: body.get_u32(),
            layout_hash: body.get_u64(),
        };
        Ok(Some(Frame { header, body }))
    }

    /// Whether the stream stopped inside a frame.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        !self.buffer.is_empty()
    }
}
