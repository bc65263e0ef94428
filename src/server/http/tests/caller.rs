//! An HTTP client that can be as rude as a test needs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// No test waits this long unless it fails.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// A request, with `Host: localhost` and `Connection: close` unless other ones are given.
#[derive(Debug, Clone)]
pub(super) struct Call {
    method: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

pub(super) fn call(method: &'static str, target: impl Into<String>) -> Call {
    Call { method, target: target.into(), headers: Vec::new(), body: None }
}

pub(super) fn get(target: impl Into<String>) -> Call {
    call("GET", target)
}

pub(super) fn put(target: impl Into<String>, value: impl AsRef<[u8]>) -> Call {
    call("PUT", target).body(value)
}

pub(super) fn delete(target: impl Into<String>) -> Call {
    call("DELETE", target)
}

impl Call {
    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let has = |name: &str| self.headers.iter().any(|(found, _)| found.eq_ignore_ascii_case(name));
        let body = self.body.as_deref().unwrap_or_default();
        let length = body.len().to_string();
        let mut lines = vec![format!("{} {} HTTP/1.1", self.method, self.target)];
        let ours = [("Host", "localhost"), ("Connection", "close"), ("Content-Length", length.as_str())];
        for (name, value) in ours.into_iter().filter(|(name, _)| !has(name)) {
            if name != "Content-Length" || (self.body.is_some() && !has("Transfer-Encoding")) {
                lines.push(format!("{name}: {value}"));
            }
        }
        lines.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}")));
        let text = lines.join("\r\n") + "\r\n\r\n";
        [text.as_bytes(), body].concat()
    }

    pub(super) fn at(&self, address: SocketAddr) -> Reply {
        exchange(connect(address), &self.to_bytes())
    }
}

pub(super) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends, and reads to the end. A peer that answers before it has read everything may refuse the rest.
pub(super) fn exchange(mut stream: impl Read + Write, request: &[u8]) -> Reply {
    drop(stream.write_all(request).and_then(|()| stream.flush()));
    read_reply(&mut stream)
}

pub(super) fn read_reply(stream: &mut impl Read) -> Reply {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap_or_else(|error| {
        panic!("{error} after {:?}", String::from_utf8_lossy(&bytes));
    });
    Reply::parse(&bytes)
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| {
            panic!("no answer in {:?}", String::from_utf8_lossy(bytes));
        });
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { status, headers: lines.filter_map(header).collect(), body: bytes[end + 4..].to_vec() }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    #[track_caller]
    pub(super) fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// An error of this status and code whose text has all these words.
    #[track_caller]
    pub(super) fn refuses(&self, status: u16, code: &str, words: &[&str]) -> &Self {
        self.is(status);
        let error = &self.json()["error"];
        assert_eq!(error["code"], code, "{error}");
        assert!(error["retryable"].is_boolean());
        let message = error["message"].as_str().unwrap();
        for word in words {
            assert!(message.contains(word), "{word:?} is not in {message:?}");
        }
        self
    }

    #[track_caller]
    pub(super) fn context(&self) -> String {
        self.header("quorate-context").unwrap_or_else(|| panic!("no context: {self:?}")).to_owned()
    }
}
