//! Tests of `cli::import`.

use std::io::Cursor;

use super::source::{LINE_BYTES_MAX, write_id};
use super::*;
use crate::protocol::types::WriteId;

fn entries(text: &str, skip: u64) -> Vec<Entry> {
    let table = TableName::new("default".into()).unwrap();
    let mut source = Source::new(Cursor::new(text.as_bytes()), 7, table, skip);
    std::iter::from_fn(|| source.next().unwrap()).collect()
}

/// A user would have every item twice after an import that was resumed by a newer program.
#[test]
fn write_ids_never_change() {
    let digest = Digest::of(Cursor::new(b"{\"key\":\"a\",\"value\":\"1\"}\n")).unwrap();
    let found = [write_id(0, 1).as_u128(), write_id(0x0123_4567_89ab_cdef, 4711).as_u128(), digest.hash];
    assert_eq!(
        found.map(|id| format!("{id:032x}")),
        ["c2900041aeb96b7bb1fd99763215efd2", "438d05d7b580af1fc1b2c27b7930987e", "3642a76666ff2b1339fdf2f67201780b"]
    );
}

#[test]
fn digest_counts_lines_with_and_without_the_last_newline() {
    for (text, lines) in [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("a\n\nb\n", 3)] {
        assert_eq!(Digest::of(Cursor::new(text)).unwrap().lines, lines, "{text:?}");
    }
}

#[test]
fn lines_become_units_and_siblings_stay_together() {
    let text = "{\"key\":\"a\",\"value\":\"1\"}\n\
                \n\
                {\"key\":\"b\",\"value\":\"2\",\"context\":\"c\"}\n\
                {\"key\":\"b\",\"value\":\"3\",\"context\":\"c\"}\n\
                {\"key\":\"b\",\"value\":\"4\",\"context\":\"d\"}\n\
                oops\n\
                {\"key\":\"b\",\"value\":\"5\"}\n\
                {\"key\":\"b\",\"value\":\"6\"}";
    let lines = |entry: &Entry| match entry {
        Entry::Unit(unit) => unit.lines(),
        Entry::Blank(line) | Entry::Bad { line, .. } => *line..=*line,
    };
    let found = entries(text, 0);
    assert_eq!(found.iter().map(lines).collect::<Vec<_>>(), [1..=1, 2..=2, 3..=4, 5..=5, 6..=6, 7..=7, 8..=8]);
    assert!(matches!(found[1], Entry::Blank(2)) && matches!(found[4], Entry::Bad { line: 6, .. }));
    let Entry::Unit(unit) = &found[2] else { panic!("{found:?}") };
    let ids: Vec<WriteId> = unit.versions.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [write_id(7, 3), write_id(7, 4)]);
    // A resumed run sees the same lines under the same names.
    assert_eq!(entries(text, 5), found[4..]);
}

#[test]
fn line_beyond_all_limits_is_bad_and_the_next_one_is_read() {
    let text = format!("{}\n{{\"key\":\"a\",\"value\":\"1\"}}\n", "x".repeat(LINE_BYTES_MAX + 10));
    let found = entries(&text, 0);
    assert!(matches!(&found[0], Entry::Bad { line: 1, reason } if reason.contains("more than any value needs")));
    assert!(matches!(&found[1], Entry::Unit(unit) if unit.lines() == (2..=2)));
}

#[test]
fn progress_stands_before_the_first_gap() {
    let mut tracker = Tracker::new(Progress::new(7));
    tracker.finish(2..=3);
    tracker.finish_bad(6);
    tracker.finish(5..=5);
    tracker.finish(7..=9);
    assert_eq!((tracker.progress().line, tracker.ranges()), (0, 2));
    tracker.finish(1..=1);
    assert_eq!((tracker.progress().line, tracker.progress().bad), (3, 0));
    tracker.finish(4..=4);
    assert_eq!((tracker.progress().line, tracker.progress().bad, tracker.ranges()), (9, 1, 0));
}

#[test]
fn progress_comes_back_from_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let place = Progress::place(&dir.path().join("f.jsonl"));
    assert!(place.ends_with("f.jsonl.quorate-progress"));
    assert_eq!(Progress::load(&place).unwrap(), None);
    let progress = Progress { digest: u128::MAX - 1, line: 4711, bad: 2 };
    progress.save(&place).unwrap();
    progress.save(&place).unwrap();
    assert_eq!(Progress::load(&place).unwrap(), Some(progress));
    std::fs::write(&place, "{").unwrap();
    assert!(format!("{:#}", Progress::load(&place).unwrap_err()).contains("remove it"));
    Progress::remove(&place).unwrap();
    Progress::remove(&place).unwrap();
}
