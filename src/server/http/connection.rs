//! Connections: accepted up to a bound, served, and brought to their end.
//!
//! ```text
//!   accept loop, one per listener: wait for a place -> accept -> task per connection
//!   task: TLS handshake -> hyper, one request after the other -> linger -> close
//!   stop: listeners close, idle connections close, requests under way finish within Deadlines::stop, the rest is cut
//! ```
//!
//! At the bound new connections wait in the system's queue: every connection ends by itself within its deadlines, so
//! a place becomes free soon, and refusing instead would cost the same work per attempt.
//!
//! *Linger.* A request may be refused before its body is read (413, 401). Closing a socket with unread bytes in it
//! makes the system send a reset, which can overtake the refusal and rob the client of its text. So a connection's
//! writing half is closed first, and what still comes in is read and dropped for a moment.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::select;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::listener::{Entrance, Listeners, Socket};
use super::memory::{Memory, REPLY_BYTES_TOTAL_MAX, VALUE_BYTES_TOTAL_MAX};
use super::patient::Patient;
use super::router::{Desk, HEADER_BYTES_MAX, router};
use super::socket_file::SocketFile;
use super::{Deadlines, Door, TlsSource};
use crate::pki::{Moment, Validity, chain_identity};
use crate::transport::tenure::AGE_MAX;

/// Connections of one listener at once. Health and metrics have a listener of their own wherever data is served to
/// more than one machine's users.
pub const CONNECTIONS_MAX: usize = 1024;
/// Bytes of a connection's buffer, and of headers that hyper parses at all. Past [`HEADER_BYTES_MAX`] the door answers
/// with a text, past this hyper with the bare status 431.
const BUFFER_BYTES_MAX: usize = 192 * 1024;
const _: () = assert!(HEADER_BYTES_MAX < BUFFER_BYTES_MAX);
/// Headers of a request: a browser sends twenty.
const HEADERS_MAX: usize = 100;
/// Pause after a failed accept: the process has no file descriptors left, and asking again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a closing connection's client may go on sending.
const LINGER: Duration = Duration::from_secs(2);

impl Listeners {
    /// Serves until `stop` says true (or its sender is gone), then lets the requests under way finish within
    /// [`Deadlines::stop`]. Returns how many connections had to be cut off. Runs on the current tokio runtime.
    ///
    /// # Errors
    /// The runtime cannot take the listeners: it is not a tokio runtime with I/O and time.
    pub async fn serve<D: Door>(self, door: D, stop: watch::Receiver<bool>) -> io::Result<usize> {
        let value_memory = Memory::new(VALUE_BYTES_TOTAL_MAX);
        let reply_memory = Memory::new(REPLY_BYTES_TOTAL_MAX);
        let mut loops = JoinSet::new();
        for Entrance { socket, guard } in self.entrances {
            let desk = Desk {
                door: door.clone(),
                guard,
                request_timeout: self.request_timeout,
                deadlines: self.deadlines,
                value_memory: value_memory.clone(),
                reply_memory: reply_memory.clone(),
            };
            let acceptor = Acceptor::of(socket)?;
            let host = Host { router: router(Arc::new(desk)), deadlines: self.deadlines, stop: stop.clone() };
            loops.spawn(host.receive(acceptor));
        }
        let mut cut_off = 0;
        while let Some(ended) = loops.join_next().await {
            cut_off += ended.map_err(io::Error::other)?;
        }
        Ok(cut_off)
    }
}

/// A listener on the runtime.
enum Acceptor {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: SocketFile },
    Tls(TcpListener, TlsSource),
}

impl Acceptor {
    fn of(socket: Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Socket::Unix(listener, file) => Self::Unix { listener: UnixListener::from_std(listener)?, _file: file },
            Socket::Tls(listener, tls) => Self::Tls(TcpListener::from_std(listener)?, tls),
        })
    }

    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| Stream::Tcp(stream)),
            Self::Unix { listener, .. } => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
            Self::Tls(listener, tls) => {
                let (stream, _) = listener.accept().await?;
                // The newest certificate: a renewed one serves from the next connection on.
                let mut renewals = tls.clone();
                let acceptor = TlsAcceptor::from(renewals.borrow_and_update().clone());
                Ok(Stream::Tls(stream, acceptor, renewals))
            }
        }
    }
}

/// A connection that was accepted.
enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
    Tls(tokio::net::TcpStream, TlsAcceptor, TlsSource),
}

/// How long a connection may last at most.
enum Tenure {
    /// Nobody is believed by a certificate.
    Unbounded,
    /// Until the certificate of its client ends, or that of the door is renewed: then whom the door believes may have
    /// changed, and a client that is believed connects again.
    Certified { until: Instant, renewals: TlsSource },
}

impl Tenure {
    async fn over(&mut self) {
        match self {
            Self::Unbounded => std::future::pending().await,
            Self::Certified { until, renewals } => {
                // Elapsed or renewed: either way it is over.
                drop(timeout_at(*until, renewals.changed()).await);
            }
        }
    }
}

/// When a connection that begins now has to end, by its client's certificate.
fn ends(chain: Option<&[CertificateDer<'_>]>) -> Instant {
    let not_after = chain.and_then(<[_]>::first).and_then(|leaf| Validity::of(leaf).ok()).map(|v| v.not_after);
    let left = not_after.map_or(0, |not_after| (not_after.as_unix() + 1).saturating_sub(Moment::now().as_unix()));
    Instant::now() + Duration::from_secs(left).min(AGE_MAX)
}

/// What every connection of a listener needs.
#[derive(Clone)]
struct Host {
    router: Router,
    deadlines: Deadlines,
    stop: watch::Receiver<bool>,
}

impl Host {
    /// Accepts until told to stop, then sees the connections out.
    async fn receive(self, acceptor: Acceptor) -> usize {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut stop = self.stop.clone();
        let mut connections = JoinSet::new();
        loop {
            let accepted = async {
                let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
                acceptor.accept().await.map(|stream| (place, stream))
            };
            select! {
                () = stopped(&mut stop) => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => report(ended),
                accepted = accepted => match accepted {
                    Ok((place, stream)) => {
                        let host = self.clone();
                        connections.spawn(async move {
                            host.welcome(stream).await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the HTTP door could not accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(acceptor);
        let seen_out = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        if timeout(self.deadlines.stop, seen_out).await.is_ok() {
            return 0;
        }
        let cut_off = connections.len();
        tracing::warn!(cut_off, "the HTTP door closes with requests under way");
        connections.shutdown().await;
        cut_off
    }

    async fn welcome(self, stream: Stream) {
        match stream {
            Stream::Tcp(stream) => {
                // Answers are written whole: waiting to fill a packet only delays them.
                drop(stream.set_nodelay(true));
                self.converse(stream, Tenure::Unbounded).await;
            }
            Stream::Unix(stream) => self.converse(stream, Tenure::Unbounded).await,
            Stream::Tls(stream, acceptor, renewals) => {
                drop(stream.set_nodelay(true));
                match timeout(self.deadlines.header, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => match chain_identity(stream.get_ref().1.peer_certificates()) {
                        Ok(identity) => {
                            tracing::debug!(%identity, "HTTP client");
                            let until = ends(stream.get_ref().1.peer_certificates());
                            self.converse(stream, Tenure::Certified { until, renewals }).await;
                        }
                        Err(error) => tracing::warn!(%error, "an HTTP client's certificate has no identity"),
                    },
                    Ok(Err(error)) => tracing::info!(%error, "a TLS handshake at the HTTP door failed"),
                    Err(_) => tracing::info!("a TLS handshake at the HTTP door took too long"),
                }
            }
        }
    }

    /// Serves one request after the other until either side has had enough.
    async fn converse<T>(mut self, stream: T, mut tenure: Tenure)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = self.router;
        let service = service_fn(move |request: hyper::Request<Incoming>| Box::pin(router.clone().oneshot(request)));
        let io = TokioIo::new(Patient::new(stream, self.deadlines.stall));
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.deadlines.header)
            .max_headers(HEADERS_MAX)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(io, service);
        let ended = select! {
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => Some(ended),
            () = stopped(&mut self.stop) => None,
            () = tenure.over() => None,
        };
        let lingers = ended.is_some();
        let ended = if let Some(ended) = ended {
            ended
        } else {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "an HTTP connection ended early");
        }
        let mut stream = connection.into_parts().io.into_inner();
        let closing = async {
            if stream.shutdown().await.is_ok() && lingers {
                let mut dropped = [0; 8192];
                while stream.read(&mut dropped).await.is_ok_and(|count| count > 0) {}
            }
        };
        // Past this the client loses nothing that it was going to get.
        drop(timeout(LINGER, closing).await);
    }
}

/// Resolves when the order to stop is there, or whoever could give it is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "serving an HTTP connection panicked; report this");
    }
}
