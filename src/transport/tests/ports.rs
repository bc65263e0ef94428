//! Opening UDP ports.

use std::net::SocketAddr;

use super::fixture::*;
use crate::transport::{BindError, bind};

#[tokio::test]
async fn port_in_use_is_named_with_a_way_out() {
    let first = bind(loopback(), None, None).unwrap();
    let address = first.local_addr().unwrap();
    let error = bind(address, None, None).unwrap_err();
    assert!(matches!(error, BindError::InUse(_)), "{error}");
    let port = address.port();
    assert_eq!(
        error.to_string(),
        format!(
            "UDP port {port} of 127.0.0.1 is in use by another process (`ss -lunp 'sport = :{port}'` shows which); \
             stop it, or configure another port"
        )
    );
}

#[tokio::test]
async fn address_of_another_machine_is_named_with_a_way_out() {
    let address: SocketAddr = "192.0.2.1:7000".parse().unwrap();
    let error = bind(address, None, None).unwrap_err();
    assert!(matches!(error, BindError::NotLocal(_)), "{error}");
    assert!(error.to_string().starts_with("192.0.2.1 is not an address of this machine"), "{error}");
    assert!(error.to_string().ends_with("or 0.0.0.0 for all"), "{error}");
}

#[test]
fn port_needs_a_runtime() {
    assert!(matches!(bind(loopback(), None, None), Err(BindError::NoRuntime(_))));
}
