//! Reading a value: whole, bounded in bytes and in time.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use tokio::time::timeout;

use super::memory::{Charge, Memory};
use super::refusal::{Code, Refusal};
use crate::protocol::wire::FailureCode;

/// Memory taken before anything has arrived, at most: more is taken as it fills.
const RESERVED_BYTES_MAX: usize = 64 * 1024;

/// A value and its share of the memory.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) value: Bytes,
    _charge: Charge,
}

/// Reads a body that may have `limit` bytes. An announced length over it is refused before a byte is read; without
/// one (chunked), as soon as the limit is passed.
pub(super) async fn read(body: Body, limit: usize, memory: &Memory, within: Duration) -> Result<Held, Refusal> {
    if let Some(announced) = body.size_hint().exact()
        && usize::try_from(announced).map_or(true, |announced| announced > limit)
    {
        return Err(too_large(&format!("{announced} bytes"), limit));
    }
    timeout(within, collect(body, limit, memory)).await.unwrap_or_else(|_| {
        let text = format!("the body did not arrive within {}; send it faster", humantime::format_duration(within));
        Err(Refusal::new(Code::BodyTimedOut, text))
    })
}

async fn collect(mut body: Body, limit: usize, memory: &Memory) -> Result<Held, Refusal> {
    let announced = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    let mut charge = memory.charge(0)?;
    let mut first = Bytes::new();
    let mut rest: Option<BytesMut> = None;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| broken(&error))?;
        // Trailers are no part of a value.
        let Ok(chunk) = frame.into_data() else { continue };
        let so_far = rest.as_ref().map_or(first.len(), BytesMut::len);
        if so_far + chunk.len() > limit {
            return Err(too_large(&format!("more than {limit} bytes"), limit));
        }
        charge.join(memory.charge(chunk.len())?);
        match &mut rest {
            Some(rest) => rest.extend_from_slice(&chunk),
            // A value that came in one piece is used where it lies.
            None if first.is_empty() => first = chunk,
            None => {
                let reserved = announced.unwrap_or(0).min(RESERVED_BYTES_MAX);
                let mut buffer = BytesMut::with_capacity(reserved.max(first.len() + chunk.len()));
                buffer.extend_from_slice(&first);
                buffer.extend_from_slice(&chunk);
                rest = Some(buffer);
            }
        }
    }
    Ok(Held { value: rest.map_or(first, BytesMut::freeze), _charge: charge })
}

fn too_large(found: &str, limit: usize) -> Refusal {
    let text =
        format!("the value has {found}; the limit here is {limit} (value_bytes_max); split it over several sort keys");
    Refusal::failed(FailureCode::TooLarge, text)
}

fn broken(error: &axum::Error) -> Refusal {
    let text = format!("the body ended early or its chunks are malformed ({error}); nothing was written");
    Refusal::failed(FailureCode::BadInput, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn value_takes_its_share_of_the_memory_until_it_is_dropped() {
        let memory = Memory::new(10);
        let held = read(Body::from("sixsix"), 8, &memory, LONG).await.unwrap();
        assert_eq!((held.value.as_ref(), memory.free()), (&b"sixsix"[..], 4));
        let refused = read(Body::from("fives"), 8, &memory, LONG).await.unwrap_err();
        assert_eq!(refused.code, Code::Failed(FailureCode::Overloaded));
        assert!(refused.message.contains("10 bytes"), "{}", refused.message);
        drop(held);
        assert_eq!(memory.free(), 10);
        assert_eq!(read(Body::from("fives"), 8, &memory, LONG).await.unwrap().value, "fives");
        let refused = read(Body::from("nine nine"), 8, &memory, LONG).await.unwrap_err();
        assert_eq!(refused.code, Code::Failed(FailureCode::TooLarge));
        assert_eq!(memory.free(), 10);
    }
}
