//! Other processes that do not do their part; the shell plays them.

use std::time::Duration;

use super::*;
use crate::load::settings::{Keys, Mix, Pace, ValueSize};
use crate::load::watch::Phase;

fn settings(processes: u16) -> Settings {
    Settings {
        mix: Mix { get: 1, ..Mix::default() },
        keys: Keys::Uniform,
        key_count: 100,
        value: ValueSize::Fixed(10),
        pace: Pace::Closed,
        in_flight: 8,
        duration: Duration::from_secs(1),
        warmup: Duration::ZERO,
        blind: false,
        verify: false,
        timeout: Duration::from_secs(1),
        seed: 1,
        processes,
        table: "bench".to_owned(),
    }
}

/// Who remembers what was seen.
#[derive(Default)]
struct Seen(Vec<Progress>);

impl Watch for Seen {
    fn progress(&mut self, progress: &Progress) {
        self.0.push(progress.clone());
    }
}

/// Processes that run a script of the shell.
fn others(processes: u16, script: &str) -> Others {
    let arguments = ["-c", script].map(Into::into).to_vec();
    let companion = Companion { program: "/bin/sh".into(), arguments };
    Others::start(&settings(processes), Preparation::Load, &companion).expect("there is a shell")
}

#[tokio::test(flavor = "current_thread")]
async fn process_that_dies_is_an_error_with_its_words() {
    let mut dying = others(2, "read assignment; echo 'no cluster there' >&2; exit 3");
    let error = dying.ready().await.unwrap_err().to_string();
    assert_eq!(error, "client process 1 ended early (exit status: 3); it said: no cluster there");
    // Also while the run is made, and whatever it said before that is no message.
    let mut late = others(3, "read assignment; echo '\"Ready\"'; read go; echo 'thread main panicked'");
    late.ready().await.unwrap();
    late.go().unwrap();
    let error = late.tallies().await.unwrap_err().to_string();
    assert!(error.contains("ended early (exit status: 0); it said nothing"), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn process_that_never_ends_ends_with_the_first() {
    let others = others(4, "read assignment; exec sleep 1000");
    let pids: Vec<u32> = others.processes.iter().map(|process| process.child.id()).collect();
    drop(others);
    assert!(pids.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()), "{pids:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn tallies_and_progress_of_all_processes_add_up() {
    let tally = serde_json::to_string(&Said::Done(Box::default())).unwrap();
    let progress = Progress { phase: Phase::Loading, done: 3, total: 50, second: None };
    let said = serde_json::to_string(&Said::Progress(progress)).unwrap();
    let script = format!("read assignment; echo '{said}'; echo '\"Ready\"'; read go; echo '{tally}'");
    let mut others = others(3, &script);
    others.ready().await.unwrap();

    let mut seen = Seen::default();
    let own = Progress { phase: Phase::Loading, done: 4, total: 50, second: None };
    Together { watch: &mut seen, others: &mut others }.progress(&own);
    assert_eq!(seen.0, [Progress { phase: Phase::Loading, done: 10, total: 150, second: None }]);

    others.go().unwrap();
    assert_eq!(others.tallies().await.unwrap(), [Tally::default(), Tally::default()]);
}
