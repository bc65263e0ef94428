//! stub
#![allow(missing_docs)]
use crate::config::server::*;
use crate::pki::{Credentials, tls::TlsError};
use crate::protocol::shard::View;
use crate::protocol::wire::*;
use bytes::Bytes;
use std::{future::Future, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::watch;
pub trait Door: Clone + Send + Sync + 'static {
    fn ask(&self, kind: Kind, body: Bytes, budget: Duration) -> impl Future<Output = Result<Frame, Failure>> + Send;
    fn status(&self) -> NodeStatus;
    fn view(&self) -> Option<Arc<View>>;
    fn readiness(&self) -> Result<(), String>;
    fn metrics(&self) -> impl Future<Output = String> + Send;
    fn value_bytes_max(&self) -> usize;
}
pub type TlsSource = watch::Receiver<Arc<rustls::ServerConfig>>;
pub fn tls_config(credentials: &Credentials) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    crate::pki::tls::server_config(credentials, crate::pki::tls::ALPN_HTTP).map(Arc::new)
}
pub struct DoorConfig {
    pub listen: SocketAddr,
}
impl DoorConfig {
    pub fn of(http: &HttpConfig, _t: Duration, _tls: &TlsSource) -> Self {
        Self { listen: http.listen }
    }
    pub fn open_loopback(listen: SocketAddr, _t: Duration) -> Self {
        Self { listen }
    }
}
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct BindError;
pub struct Server;
pub async fn bind(_c: DoorConfig) -> Result<Server, BindError> {
    Ok(Server)
}
pub async fn serve<D: Door>(_s: Server, _d: D, mut stop: watch::Receiver<bool>) -> Result<(), BindError> {
    let _ = stop.changed().await;
    Ok(())
}
