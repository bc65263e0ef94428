//! Exchanges between two replicas (Dynamo 4.7). Its floor is laid; nothing runs here yet, so a replica that lost
//! state stays *unverified* (see `replica`) until exchanges exist.
