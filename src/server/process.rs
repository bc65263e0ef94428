//! The process as its operating system tells, from `/proc`: that is memory of the kernel, no disk.
//!
//! Sampled every two seconds on the control thread, for a process with ten thousand connections has as many entries in
//! `/proc/self/fd`. Where there is no `/proc` the numbers stay zero.

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::metrics::ProcessNumbers;

/// How often it is sampled.
const EVERY: Duration = Duration::from_secs(2);
/// Clock ticks of a second in `/proc/self/stat`: part of Linux's interface to programs (`USER_HZ`), whatever the kernel
/// itself counts in.
const TICKS: f64 = 100.0;

/// The newest sample.
#[derive(Debug, Default)]
pub(crate) struct ProcessSample(Mutex<ProcessNumbers>);

impl ProcessSample {
    pub(crate) fn numbers(&self) -> ProcessNumbers {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Samples for as long as the node runs.
    pub(crate) async fn keep(&self) {
        let mut pulse = tokio::time::interval(EVERY);
        loop {
            pulse.tick().await;
            let numbers = sampled();
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = numbers;
        }
    }
}

fn sampled() -> ProcessNumbers {
    let text = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let (status, limits, stat) = (text("status"), text("limits"), text("stat"));
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    let mut numbers = parse(&status, &limits, &stat, &boot);
    numbers.open_files = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    numbers
}

/// All but the open files.
fn parse(status: &str, limits: &str, stat: &str, boot: &str) -> ProcessNumbers {
    let number_after = |text: &str, name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let word = line.and_then(|rest| rest.split_whitespace().next());
        word.and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    // The program's name is in brackets, and may have spaces and brackets itself.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    // State is field 3 of the line and the first one here.
    let ticks = |field: usize| -> f64 {
        fields.split_whitespace().nth(field - 3).and_then(|word| word.parse().ok()).unwrap_or(0.0)
    };
    ProcessNumbers {
        cpu_seconds: (ticks(14) + ticks(15)) / TICKS,
        resident_bytes: number_after(status, "VmRSS:") * 1024,
        threads: number_after(status, "Threads:"),
        open_files: 0,
        open_files_max: number_after(limits, "Max open files"),
        started: number_after(boot, "btime") as f64 + ticks(22) / TICKS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_understood_also_with_a_strange_program_name() {
        let status = "Name:\tquorate\nVmRSS:\t    2048 kB\nThreads:\t7\n";
        let limits =
            "Limit   Soft Limit  Hard Limit  Units\nMax open files            1024                 4096       files\n";
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 7 0 12345 1000000 512 0\n";
        let found = parse(status, limits, stat, "cpu 1 2 3\nbtime 1700000000\n");
        let expected = ProcessNumbers {
            cpu_seconds: 2.0,
            resident_bytes: 2 * 1024 * 1024,
            threads: 7,
            open_files: 0,
            open_files_max: 1024,
            started: 1_700_000_123.45,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_is_known_without_proc() {
        assert_eq!(parse("", "", "", ""), ProcessNumbers::default());
    }

    #[test]
    fn this_process_has_memory_and_files() {
        let found = sampled();
        assert!(found.resident_bytes > 0 && found.open_files > 0 && found.started > 0.0, "{found:?}");
    }
}
