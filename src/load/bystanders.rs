//! What else uses the machine while a run is made: a comparison must not call a neighbour's work a difference.
//!
//! `/proc/stat` counts, for each processor, the time that was spent on any process, and the time that the hypervisor
//! gave to somebody else (Linux). Of the processors that this process may use, that less what the run's own processes
//! have used is the bystanders'. Interrupts are left out: the run's own packets cause them.

use std::fs;

/// Linux shows 100 ticks a second to programs, whatever it counts inside.
const TICK_US: u64 = 10_000;
/// Of a processor's line: user, nice, system, idle, iowait, irq, softirq, steal.
const BUSY: [usize; 4] = [0, 1, 2, 7];

/// Time that the processors were busy since the machine started, microseconds; none where the kernel does not tell.
pub(super) fn busy_us() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    busy_of(&stat, &allowed_of(allowed)?)
}

/// The bystanders' share of the machine, 0 to 1: of all busy time, what the run's own processes have not used.
pub(super) fn share(busy_us: u64, own_us: u64, seconds: f64, cores: usize) -> f64 {
    let others = busy_us.saturating_sub(own_us) as f64 / 1e6;
    (others / (seconds.max(0.001) * cores.max(1) as f64)).clamp(0.0, 1.0)
}

fn busy_of(stat: &str, allowed: &[(u32, u32)]) -> Option<u64> {
    let mut sum = None;
    for line in stat.lines() {
        let mut fields = line.split_whitespace();
        let number = fields.next().and_then(|name| name.strip_prefix("cpu")?.parse::<u32>().ok());
        let Some(number) = number else { continue };
        if !allowed.iter().any(|(first, last)| (*first..=*last).contains(&number)) {
            continue;
        }
        let ticks: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
        let busy: u64 = BUSY.iter().filter_map(|at| ticks.get(*at)).sum();
        *sum.get_or_insert(0) += busy * TICK_US;
    }
    sum
}

/// A list of the kernel's, such as `0-3,8`.
fn allowed_of(ranges: &str) -> Option<Vec<(u32, u32)>> {
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    ranges.trim().split(',').map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  9 9 9 9 9 9 9 9 0 0\n\
                        cpu0 100 20 30 4000 50 6 7 8 0 0\n\
                        cpu1 1 0 0 0 0 0 0 0 0 0\n\
                        cpu9 5000 0 0 0 0 0 0 0 0 0\nintr 12\n";

    #[test]
    fn only_processors_that_may_be_used_count_and_only_their_busy_time() {
        assert_eq!(busy_of(STAT, &[(0, 3)]), Some((100 + 20 + 30 + 8 + 1) * TICK_US));
        assert_eq!(busy_of(STAT, &[(1, 1)]), Some(TICK_US));
        assert_eq!(busy_of("nothing", &[(0, 3)]), None);
        assert_eq!(allowed_of("\t0-3,8\n"), Some(vec![(0, 3), (8, 8)]));
        assert_eq!(allowed_of("all"), None);
    }

    #[test]
    fn share_is_what_is_left_of_the_busy_time() {
        assert!((share(3_000_000, 1_000_000, 2.0, 2) - 0.5).abs() < 1e-9);
        assert!(share(1, 2, 1.0, 1).abs() < 1e-9, "ticks are coarse: less than nothing is nothing");
        assert!((share(u64::MAX, 0, 0.0, 0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn this_machine_has_been_busy() {
        assert!(busy_us().is_some_and(|us| us > 0));
    }
}
