//! Over real loopback QUIC with mutual TLS: what only two ends can show.

mod echo;
mod exchanges;
mod fixture;
mod greetings;
mod lanes;
mod links;
mod ports;
mod services;
mod tenures;
