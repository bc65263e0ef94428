//! A line in the log for each slow request: who waited for what. The machine makes the accounts, and bounds them.

use std::fmt::Write as _;
use std::time::Duration;

use crate::protocol::shard::{SlowPeer, SlowRequest, View};

/// Writes the account of a slow request. The key itself stays out of the log: its hash leads to its partition, and
/// whoever knows the key finds it with `quorate key inspect`.
pub(crate) fn tell(view: &View, slow: &SlowRequest) {
    let SlowRequest { verb, table, hash, partition, request, write_id, failure, left_out, .. } = slow;
    let outcome = failure.map_or("ok", |code| code.as_str());
    let write_id = write_id.map(|id| id.to_string());
    let left_out = Some(*left_out).filter(|count| *count > 0);
    // The HTTP door has no names for its requests.
    let request = (*request != 0).then(|| format!("{request:016x}"));
    let peers = peers_text(view, &slow.peers);
    tracing::warn!(
        kind = verb.as_str(),
        outcome,
        took_ms = millis(slow.took),
        inbox_ms = millis(slow.inbox),
        own_copy_ms = slow.own_copy.map(millis),
        peers = peers.as_deref(),
        stored_ms = slow.stored.map(millis),
        table = table.as_str(),
        hash = %format_args!("{:016x}", hash.to_bits()),
        %partition,
        request,
        write_id,
        left_out,
        "slow request"
    );
}

/// `n2 asked at 0.2 answered at 410.3, n3 asked at 0.2 silent, n4 not asked`, in milliseconds after the request came.
fn peers_text(view: &View, peers: &[SlowPeer]) -> Option<String> {
    let mut text = String::new();
    for SlowPeer { peer, asked, answered } in peers {
        let comma = if text.is_empty() { "" } else { ", " };
        let name = view.name_of(*peer);
        match (asked, answered) {
            (None, _) => write!(text, "{comma}{name} not asked"),
            (Some(asked), None) => write!(text, "{comma}{name} asked at {} silent", millis(*asked)),
            (Some(asked), Some(answered)) => {
                write!(text, "{comma}{name} asked at {} answered at {}", millis(*asked), millis(*answered))
            }
        }
        .expect("a String takes all that is written to it");
    }
    (!text.is_empty()).then_some(text)
}

/// Milliseconds with one digit behind the point.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_rounded_to_a_tenth() {
        assert_eq!(millis(Duration::from_micros(1_249)).to_string(), "1.2");
        assert_eq!(millis(Duration::from_secs(2)).to_string(), "2000");
        assert_eq!(millis(Duration::ZERO).to_string(), "0");
    }
}
