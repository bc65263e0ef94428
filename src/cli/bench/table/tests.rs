//! A report as a person reads it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::load::report::{Event, FloorStep, Process, Schedule, Verification, Versions};
use crate::load::settings::{Keys, Mix, Settings, ValueSize};

fn operations(us: u64, errors: u64) -> Operations {
    let named = (errors > 0).then(|| ("unanswered".to_owned(), errors));
    let latency = Distribution(vec![(us, 990), (us * 10, 10)]);
    Operations { count: 1000, errors: named.into_iter().collect(), service: latency.clone(), latency }
}

fn report(pace: Pace) -> Report {
    let process = |name: &str, is_server| Process {
        name: name.to_owned(),
        is_server,
        cpu_us: 20_000,
        memory_bytes: 90 << 20,
        memory_peak_bytes: 100 << 20,
    };
    let run = Run {
        name: "put 1024 B, 64 in flight".to_owned(),
        settings: Settings {
            mix: Mix { put: 1, ..Mix::default() },
            keys: Keys::Uniform,
            key_count: 1000,
            value: ValueSize::Fixed(1024),
            pace,
            in_flight: 64,
            duration: Duration::from_secs(1),
            warmup: Duration::from_secs(2),
            blind: false,
            verify: true,
            timeout: Duration::from_secs(2),
            seed: 1,
            processes: 1,
            table: "bench".to_owned(),
        },
        seconds: 1.0,
        operations: BTreeMap::from([("put".to_owned(), operations(712, 2)), (ALL.to_owned(), operations(712, 2))]),
        processes: vec![process("n1", true), process("client", false)],
        timeline: Vec::new(),
        events: vec![Event { at: 0.5, what: "kill n2".to_owned() }],
        versions: Versions { answers: 10, sum: 11, max: 2 },
        verification: Some(Verification { checked: 500, stale: 1, ..Verification::default() }),
        schedule: (pace != Pace::Closed).then_some(Schedule { offered: 1000.0, late: 3, late_max_us: 4200, unsent: 0 }),
        invalid: vec!["values are not what was acknowledged".to_owned()],
        others: None,
        warnings: vec!["n2 is not on this machine".to_owned()],
    };
    Report {
        format: 1,
        made_at: "2026-11-28T00:00:00Z".to_owned(),
        command: Vec::new(),
        program: "quorate 0.1.0 (abc)".to_owned(),
        machine: Machine { cpu: "A CPU".to_owned(), cores: 2, memory_bytes: 8 << 30, kernel: "linux 6".to_owned() },
        cluster: Cluster {
            nodes: 3,
            partitions: 64,
            replicas: 3,
            read_quorum: 2,
            write_quorum: 2,
            durability: vec!["os".to_owned()],
            versions: vec!["0.1.0".to_owned()],
        },
        runs: vec![run],
        floor: None,
    }
}

#[test]
fn what_matters_first_is_on_top() {
    let text = render(&report(Pace::Closed));
    let expected = "\
put 1024 B, 64 in flight: 1 s after 2 s of warmup
  invalid: values are not what was acknowledged

  998 operations/s, 2 errors; CPU per operation 40.0 us: servers 20.0 us, client 20.0 us

          per s  errors     p50     p90     p99    p99.9   p99.99      max
  put    1000.0       2  712 us  712 us  712 us  7.12 ms  7.12 ms  7.12 ms

  process    CPU  per operation  memory  at most
  n1         2 %        20.0 us  90 MiB  100 MiB
  client     2 %        20.0 us  90 MiB  100 MiB

  errors: 2 of put, unanswered
  versions per item: 1.100 on average, 2 at most
  checked 500 reads: 0 wrong, 1 stale, 0 writes lost
  at 0.5 s: kill n2
  note: n2 is not on this machine

cluster: 3 nodes of version 0.1.0, 64 partitions, N=3 R=2 W=2, durability os
machine: A CPU, 2 cores, 8192 MiB, linux 6
quorate 0.1.0 (abc), 2026-11-28T00:00:00Z
";
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn open_loop_shows_what_users_wait_beside_what_the_cluster_took() {
    let text = render(&report(Pace::Constant(1000.0)));
    assert!(text.contains("  put  latency  1000.0       2  712 us"), "{text}");
    assert!(text.contains("       service                  712 us"), "{text}");
    assert!(text.contains("1000/s offered; 3 requests sent more than 1 ms late, the latest by 4.20 ms"), "{text}");
}

#[test]
fn floor_of_the_same_operation_is_compared_with() {
    let mut report = report(Pace::Closed);
    let step = |operation: &str, in_flight, operation_us| FloorStep {
        operation: operation.to_owned(),
        value_bytes: 1024,
        in_flight,
        lane_frames: 1,
        echo_us: 1.0,
        echo_rate: 1.0,
        storage_us: 1.0,
        batch: 8,
        operation_us,
    };
    report.floor = Some(Floor { steps: vec![step("get", 64, 1.0), step("put", 256, 10.0), step("put", 64, 20.0)] });
    let text = render(&report);
    assert!(
        text.contains("floor 20.0 us of CPU per operation (what QUIC and RocksDB need alone): 2.0 times that was used"),
        "{text}"
    );
}

#[test]
fn times_have_three_digits_and_a_unit() {
    for (us, text) in [
        (0, "0 us"),
        (999, "999 us"),
        (1_000, "1.00 ms"),
        (12_345, "12.3 ms"),
        (123_456, "123 ms"),
        (1_234_567, "1.23 s"),
        (60_000_000, "60.0 s"),
    ] {
        assert_eq!(time(us), text);
    }
}
