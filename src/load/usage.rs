//! What processes use while a run is made: CPU and memory, from the proc filesystem (Linux).
//!
//! `stat` counts user and system time in hundredths of a second, threads that have ended included. `schedstat` counts
//! nanoseconds, of the threads that live. So the nanoseconds of all threads are taken, unless hundredths show that much
//! was done by threads that have ended.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use super::report::Process;
use super::watch::Watched;

/// Linux shows 100 ticks a second to programs, whatever it counts inside.
const TICK_US: u64 = 10_000;

/// Processes, from the beginning of the measured time to its end.
#[derive(Debug, Default)]
pub(super) struct Usage {
    charged: Vec<Charged>,
    /// Processes that were not there, and why.
    pub(super) missed: Vec<String>,
}

#[derive(Debug)]
struct Charged {
    watched: Watched,
    begin: Sample,
    /// What was seen last: a process may end before the run does.
    last: Sample,
}

/// What a process has used so far.
#[derive(Debug, Clone, Default)]
struct Sample {
    /// Whole process, in steps of a tick, microseconds.
    ticks_us: u64,
    /// Nanoseconds by thread; empty when only a glance was taken.
    threads: BTreeMap<u32, u64>,
    memory_bytes: u64,
    memory_peak_bytes: u64,
}

impl Usage {
    /// The measured time begins.
    pub(super) fn begin(watched: &[Watched]) -> Self {
        let mut usage = Self::default();
        for watched in watched {
            match Sample::take(watched.pid) {
                Ok(begin) => {
                    usage.charged.push(Charged { watched: watched.clone(), last: begin.clone(), begin });
                }
                Err(error) => {
                    usage.missed.push(format!("{} (process {}) is not charged: {error}", watched.name, watched.pid));
                }
            }
        }
        usage
    }

    /// Processes that began after the measured time did: all that they use is charged.
    pub(super) fn add(&mut self, appeared: Vec<Watched>) {
        for watched in appeared {
            if !self.charged.iter().any(|charged| charged.watched.pid == watched.pid) {
                self.charged.push(Charged { watched, begin: Sample::default(), last: Sample::default() });
            }
        }
    }

    /// The same after a look, taken now and then for processes that may end.
    pub(super) fn after_a_glance(mut self) -> Self {
        for charged in &mut self.charged {
            // One that has ended keeps what was seen last.
            if let Ok(sample) = Sample::glance(charged.watched.pid) {
                charged.last = sample;
            }
        }
        self
    }

    /// The measured time is over: what each name has used.
    pub(super) fn finish(mut self) -> (Vec<Process>, Vec<String>) {
        let mut processes: Vec<Process> = Vec::new();
        for charged in &mut self.charged {
            if let Ok(sample) = Sample::take(charged.watched.pid) {
                charged.last = sample;
            }
            let Charged { watched, begin, last } = charged;
            let used = Process {
                name: watched.name.clone(),
                is_server: watched.is_server,
                cpu_us: begin.used_until(last),
                memory_bytes: last.memory_bytes,
                memory_peak_bytes: last.memory_peak_bytes,
            };
            match processes.iter_mut().find(|process| process.name == used.name) {
                Some(earlier) => {
                    earlier.cpu_us += used.cpu_us;
                    earlier.memory_bytes = used.memory_bytes;
                    earlier.memory_peak_bytes = earlier.memory_peak_bytes.max(used.memory_peak_bytes);
                }
                None => processes.push(used),
            }
        }
        (processes, self.missed)
    }
}

impl Sample {
    /// Everything.
    fn take(pid: u32) -> io::Result<Self> {
        let mut sample = Self::glance(pid)?;
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the list and the look; its time stays in the ticks.
            let Ok(entry) = entry else { continue };
            let thread = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let time = fs::read_to_string(entry.path().join("schedstat")).ok();
            if let (Some(thread), Some(time)) = (thread, time.as_deref().and_then(first_number)) {
                sample.threads.insert(thread, time);
            }
        }
        Ok(sample)
    }

    /// Without the threads: two small files.
    fn glance(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let malformed = || io::Error::other(format!("/proc/{pid}/stat has another form: {stat}"));
        Ok(Self {
            ticks_us: ticks(&stat).ok_or_else(malformed)? * TICK_US,
            threads: BTreeMap::new(),
            memory_bytes: kib(&status, "VmRSS:") * 1024,
            memory_peak_bytes: kib(&status, "VmHWM:") * 1024,
        })
    }

    /// CPU between two samples, microseconds.
    fn used_until(&self, later: &Self) -> u64 {
        let ticks = later.ticks_us.saturating_sub(self.ticks_us);
        let since =
            |(thread, time): (&u32, &u64)| time.saturating_sub(self.threads.get(thread).copied().unwrap_or_default());
        let threads = later.threads.iter().map(since).sum::<u64>() / 1000;
        // Two samples are each up to a tick off; what is missing beyond that was done by threads that have ended.
        if ticks > threads + 2 * TICK_US { ticks } else { threads }
    }
}

/// User and system time. The name before them is in parentheses, and may have spaces and parentheses itself.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
    user.checked_add(system)
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

fn kib(status: &str, field: &str) -> u64 {
    status.lines().find_map(|line| first_number(line.strip_prefix(field)?)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Watched {
        Watched { name: "client".to_owned(), pid: std::process::id(), is_server: false }
    }

    #[test]
    fn busy_thread_is_charged_also_after_its_end() {
        let usage = Usage::begin(&[own()]);
        let used = || Sample::glance(std::process::id()).unwrap().ticks_us;
        // Until the kernel has counted so much, however many others want the core.
        let busy = std::thread::spawn(move || {
            let begin = used();
            while used() < begin + 10 * TICK_US {}
        });
        busy.join().unwrap();
        let (processes, missed) = usage.finish();
        assert!(missed.is_empty(), "{missed:?}");
        assert!(processes[0].cpu_us > 7 * TICK_US, "{processes:?}");
        assert!(processes[0].memory_bytes > 100_000 && processes[0].memory_peak_bytes >= processes[0].memory_bytes);
    }

    #[test]
    fn threads_that_ended_are_found_in_the_ticks() {
        let threads = |pairs: &[(u32, u64)]| pairs.iter().copied().collect();
        let begin =
            Sample { ticks_us: 50_000, threads: threads(&[(1, 40_000_000), (2, 9_000_000)]), ..Sample::default() };
        let end =
            Sample { ticks_us: 80_000, threads: threads(&[(1, 72_345_000), (2, 9_000_000)]), ..Sample::default() };
        assert_eq!(begin.used_until(&end), 32_345);
        let ended = Sample { ticks_us: 180_000, threads: threads(&[(1, 72_345_000)]), ..Sample::default() };
        assert_eq!(begin.used_until(&ended), 130_000);
        let glance = Sample { ticks_us: 180_000, ..Sample::default() };
        assert_eq!(begin.used_until(&glance), 130_000);
    }

    #[test]
    fn names_with_parentheses_hide_no_field() {
        let stat = "12 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 70 30 0 0 20";
        assert_eq!(ticks(stat), Some(100));
        assert_eq!(ticks("12 (x) S 1"), None);
        assert_eq!(kib("Name:\tx\nVmHWM:\t  1234 kB\nVmRSS:\t 99 kB\n", "VmRSS:"), 99);
    }

    #[test]
    fn process_that_is_gone_is_told_and_a_node_started_again_is_one() {
        let gone = Watched { name: "n1".to_owned(), pid: u32::MAX, is_server: true };
        let mut usage = Usage::begin(&[gone, own()]).after_a_glance();
        usage.add(vec![own(), Watched { name: "client".to_owned(), pid: u32::MAX, is_server: false }]);
        let (processes, missed) = usage.finish();
        assert_eq!(processes.len(), 1);
        assert!(missed[0].contains("n1"), "{missed:?}");
    }
}
