//! The load-test harness. Its floor is laid; until it stands, `cargo bench --bench quorum` measures.
