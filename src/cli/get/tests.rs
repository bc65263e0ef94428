//! Tests of `cli::get`.

use super::*;
use bytes::Bytes;

use crate::protocol::types::{ActorId, WallTime, WriteId};
use crate::protocol::version::Dot;

fn value(bytes: &'static str, counter: u64) -> Value {
    Value {
        bytes: Bytes::from_static(bytes.as_bytes()),
        dot: Dot::new(ActorId::new(1), counter),
        write_id: WriteId::new(1),
        written_at: WallTime::from_millis(0),
    }
}

#[test]
fn nothing_is_added_to_a_value_that_a_program_reads() {
    assert_eq!(text(&[value("bread", 1)], false), b"bread");
    assert_eq!(text(&[value("bread", 1)], true), b"bread\n");
    assert_eq!(text(&[value("bread\n", 1)], true), b"bread\n");
}

#[test]
fn each_sibling_stands_under_its_dot_and_time() {
    let shown = String::from_utf8(text(&[value("a", 1), value("b\n", 2)], false)).unwrap();
    let expected = "--- version 1 of 2, dot 0000000000000001:1, written 1970-01-01T00:00:00.000Z\na\n\
                    --- version 2 of 2, dot 0000000000000001:2, written 1970-01-01T00:00:00.000Z\nb\n";
    assert_eq!(shown, expected);
}

#[test]
fn time_beyond_the_calendar_is_still_shown() {
    assert_eq!(screen::time(WallTime::from_millis(u64::MAX)), "9999-12-31T23:59:59.999Z");
}
