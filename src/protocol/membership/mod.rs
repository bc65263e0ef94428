//! SWIM with Lifeguard (Dynamo 4.8.3 names the need): which members answer. Its floor is laid; nothing runs here yet,
//! so a shard is told of peers by the state of its links, and a dead peer is noticed by QUIC's idle timeout.
