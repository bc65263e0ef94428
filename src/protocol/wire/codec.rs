//! Reading bodies without trusting them.

use bytes::{Buf, BufMut, Bytes};

use crate::protocol::types::{Address, AddressError};
use crate::protocol::version::RecordError;

/// A frame that cannot be understood. Whose fault: the sender's. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Fewer bytes than the message needs.
    #[error("the frame is cut short in its {0}")]
    Truncated(&'static str),
    /// More bytes than the message has.
    #[error("the frame has {0} bytes after its end")]
    Trailing(usize),
    /// A frame over the bound for its sender.
    #[error("a frame of {found} bytes was announced; the limit here is {limit}")]
    Oversized {
        /// What was announced.
        found: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A frame of a protocol that this program does not speak.
    #[error("the frame speaks protocol version {0}; this node speaks {version}", version = super::PROTOCOL_VERSION)]
    Version(u8),
    /// A value that its field cannot have.
    #[error("the frame's {what} cannot be {found}")]
    Field {
        /// Which field.
        what: &'static str,
        /// What it was.
        found: u64,
    },
    /// A bad address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A bad item.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A control message that postcard refuses.
    #[error("the {0} message is malformed")]
    Control(&'static str),
}

/// Walks over a body; every step checks what is left first.
pub(super) struct Reader {
    rest: Bytes,
}

impl Reader {
    pub(super) fn new(body: Bytes) -> Self {
        Self { rest: body }
    }

    fn need(&self, bytes: usize, what: &'static str) -> Result<(), WireError> {
        if self.rest.len() < bytes { Err(WireError::Truncated(what)) } else { Ok(()) }
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, WireError> {
        self.need(1, what)?;
        Ok(self.rest.get_u8())
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, WireError> {
        self.need(2, what)?;
        Ok(self.rest.get_u16())
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        self.need(4, what)?;
        Ok(self.rest.get_u32())
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, WireError> {
        self.need(8, what)?;
        Ok(self.rest.get_u64())
    }

    pub(super) fn u128(&mut self, what: &'static str) -> Result<u128, WireError> {
        self.need(16, what)?;
        Ok(self.rest.get_u128())
    }

    /// A slice of the frame itself: nothing is copied or allocated.
    pub(super) fn bytes(&mut self, length: usize, what: &'static str) -> Result<Bytes, WireError> {
        self.need(length, what)?;
        Ok(self.rest.split_to(length))
    }

    pub(super) fn bytes_u16(&mut self, what: &'static str) -> Result<Bytes, WireError> {
        let length = usize::from(self.u16(what)?);
        self.bytes(length, what)
    }

    pub(super) fn bytes_u32(&mut self, what: &'static str) -> Result<Bytes, WireError> {
        let length = usize::try_from(self.u32(what)?).map_err(|_| WireError::Truncated(what))?;
        self.bytes(length, what)
    }

    pub(super) fn address(&mut self) -> Result<Address, WireError> {
        let length = usize::from(self.u8("table")?);
        let table = self.bytes(length, "table")?;
        let key = self.bytes_u16("key")?;
        let sort = self.bytes_u16("sort key")?;
        Ok(Address::new(table, key, sort)?)
    }

    /// A count whose elements of at least `bytes_each` can still be in the frame.
    pub(super) fn count(&mut self, bytes_each: usize, what: &'static str) -> Result<usize, WireError> {
        let count = usize::from(self.u16(what)?);
        self.need(count * bytes_each, what)?;
        Ok(count)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn rest(self) -> Bytes {
        self.rest
    }

    pub(super) fn finish(self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Trailing(self.rest.len())) }
    }
}

pub(super) fn address_bytes(address: &Address) -> usize {
    5 + address.table().as_bytes().len() + address.key().len() + address.sort().len()
}

pub(super) fn put_address(out: &mut impl BufMut, address: &Address) {
    out.put_u8(u8::try_from(address.table().as_bytes().len()).unwrap_or(u8::MAX));
    out.put_slice(address.table().as_bytes());
    put_bytes_u16(out, address.key());
    put_bytes_u16(out, address.sort());
}

pub(super) fn put_bytes_u16(out: &mut impl BufMut, bytes: &[u8]) {
    out.put_u16(u16::try_from(bytes.len()).expect("what is sent with a u16 length was bounded by 1 KiB when made"));
    out.put_slice(bytes);
}

pub(super) fn put_bytes_u32(out: &mut impl BufMut, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).expect("what is sent is bounded by the frame limit of 64 MiB"));
    out.put_slice(bytes);
}
