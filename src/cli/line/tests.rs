//! Tests of `cli::line`.

use super::*;

use crate::client::{Context, Value};
use crate::protocol::types::{ActorId, WallTime, WriteId};
use crate::protocol::version::Dot;

fn parse(text: &str) -> Result<Line, String> {
    Line::parse(text.as_bytes(), &TableName::new("default".into()).unwrap())
}

#[test]
fn line_is_read_with_its_defaults() {
    let line = parse(r#"{"key":"k","value":""}"#).unwrap();
    assert_eq!(format!("{:?}", line.address), "default/k");
    assert!(line.value.is_empty());
    let line =
        parse(r#"{"table":"t","key_base64":"/wA=","sort_base64":"AA","value_base64":"_-8","context":"x"}"#).unwrap();
    assert_eq!((&line.address.key()[..], &line.address.sort()[..]), (&[0xff, 0][..], &[0][..]));
    assert_eq!(line.value, [0xff, 0xef].as_slice());
}

#[test]
fn bad_lines_say_what_is_wrong() {
    let long = "x".repeat(1025);
    for (text, words) in [
        ("nonsense", "column"),
        ("[]", "expected"),
        (r#"{"value":"v"}"#, r#"no "key""#),
        (r#"{"key":"k"}"#, r#"no "value""#),
        (r#"{"key":"k","value":"v","vlaue":"w"}"#, "unknown field `vlaue`"),
        (r#"{"key":"k","key_base64":"aw==","value":"v"}"#, "keep one"),
        (r#"{"key":"k","value_base64":"!"}"#, r#""value_base64" is not base64"#),
        (r#"{"key":"","value":"v"}"#, "the key is empty"),
        (r#"{"key":"k","table":"No","value":"v"}"#, "a-z 0-9"),
        (r#"{"key":"k","value":7}"#, "expected a string"),
        (r#"{"key":"k","value":"v"} {}"#, "trailing"),
        (&format!(r#"{{"key":"{long}","value":"v"}}"#), "the limit is 1024"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
        assert!(!error.contains("line 1"), "{error}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let value = |bytes: &'static [u8], counter| Value {
        bytes: Bytes::from_static(bytes),
        dot: Dot::new(ActorId::new(9), counter),
        write_id: WriteId::new(1),
        written_at: WallTime::from_millis(0),
    };
    let address = Address::new("t".into(), Bytes::from_static(b"\xff\0key"), "s\"ort".into()).unwrap();
    let context = Context::from_token(Bytes::from_static(b"token"));
    let read = Versions { context, values: vec![value(b"text\n", 1), value(b"\xfe", 2)] };
    let text = lines_of(&address, &read).unwrap();
    let lines: Vec<Line> = text.lines().map(|line| parse(line).unwrap()).collect();
    assert!(lines[0].is_sibling_of(&lines[1]));
    assert!(lines.iter().all(|line| line.address == address));
    assert_eq!((&lines[0].value[..], &lines[1].value[..]), (&b"text\n"[..], &b"\xfe"[..]));
    assert!(text.contains(r#""dot":"0000000000000009:2","written_at":"1970-01-01T00:00:00.000Z""#), "{text}");

    let plain = &Address::new("t".into(), "k".into(), "".into()).unwrap();
    let single = Versions { values: vec![value(b"v", 1)], ..read.clone() };
    assert_eq!(lines_of(plain, &single).unwrap(), "{\"table\":\"t\",\"key\":\"k\",\"value\":\"v\"}\n");
    assert_eq!(lines_of(&address, &Versions { values: Vec::new(), ..read }).unwrap(), "");
}
