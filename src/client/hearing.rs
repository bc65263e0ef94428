//! Whether a node is there, told by packets rather than by answers.
//!
//! A coordinator may take long because others are slow; a node that is stopped or cut off sends nothing at all, not
//! even an acknowledgement. QUIC finds that out after its idle timeout of 12 s, and requests must not wait for it: a
//! line on which no packet came since a request left is *deaf* until one comes.

use std::sync::atomic::{AtomicU64, Ordering};

/// The count of packets is taken anew after this long: a packet that came in between hides one silence.
const SAMPLE_EVERY_MS: u64 = 5;

/// What is known of the packets of one line.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// `milliseconds u32 | packets u32`: looking at a connection takes its lock, which the hot path need not do each
    /// time.
    sample: AtomicU64,
    /// Packets when it was found deaf, plus one; 0 for never.
    deaf_at: AtomicU64,
}

impl Hearing {
    /// How many packets had come at a moment shortly before now. `now_ms` is any clock that goes on.
    pub(super) fn packets(&self, now_ms: u64, look: impl FnOnce() -> Option<u32>) -> u32 {
        let sample = self.sample.load(Ordering::Relaxed);
        let (at, packets) = (sample >> 32, u32::try_from(sample & LOW).expect("a masked number"));
        // The clock's upper bits are lost, which may make an old sample look new once in 49 days; it is one request's.
        if sample != 0 && (now_ms & LOW).wrapping_sub(at) < SAMPLE_EVERY_MS {
            return packets;
        }
        let packets = look().unwrap_or_default();
        self.sample.store((now_ms & LOW) << 32 | u64::from(packets), Ordering::Relaxed);
        packets
    }

    /// Nothing came although something had to, and this many packets had come before.
    pub(super) fn note_deaf(&self, packets: u32) {
        self.deaf_at.store(u64::from(packets) + 1, Ordering::Relaxed);
    }

    /// Whether it was found deaf and nothing has come since.
    pub(super) fn is_deaf(&self, look: impl FnOnce() -> Option<u32>) -> bool {
        let deaf_at = self.deaf_at.load(Ordering::Relaxed);
        if deaf_at == 0 {
            return false;
        }
        let deaf = look().is_some_and(|packets| u64::from(packets) + 1 == deaf_at);
        if !deaf {
            self.deaf_at.store(0, Ordering::Relaxed);
        }
        deaf
    }
}

const LOW: u64 = u32::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_deaf_until_a_packet_comes() {
        let hearing = Hearing::default();
        assert!(!hearing.is_deaf(|| Some(7)));
        hearing.note_deaf(7);
        assert!(hearing.is_deaf(|| Some(7)));
        assert!(hearing.is_deaf(|| Some(7)));
        assert!(!hearing.is_deaf(|| Some(8)), "a packet came");
        assert!(!hearing.is_deaf(|| Some(7)), "which is remembered");
        hearing.note_deaf(0);
        assert!(!hearing.is_deaf(|| None), "a line that is down is not deaf, it is down");
    }

    #[test]
    fn count_is_taken_at_most_every_few_milliseconds() {
        let hearing = Hearing::default();
        assert_eq!(hearing.packets(100, || Some(1)), 1);
        assert_eq!(hearing.packets(100 + SAMPLE_EVERY_MS - 1, || panic!("looked again")), 1);
        assert_eq!(hearing.packets(100 + SAMPLE_EVERY_MS, || Some(2)), 2);
        assert_eq!(hearing.packets(LOW + 200, || Some(3)), 3);
    }
}
