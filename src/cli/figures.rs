//! Numbers as people read them: three digits, and a unit that fits.

use std::time::Duration;

const KIB: f64 = 1024.0;

/// `512 B`, `3.4 KiB`, `1.2 GiB`.
pub(super) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    if count < 1024 {
        return format!("{count} B");
    }
    for unit in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        value /= KIB;
        // What would round up to 1024 is one of the next unit.
        if value < 1023.5 {
            return format!("{} {unit}", digits(value));
        }
    }
    format!("{} EiB", digits(value / KIB))
}

/// `0s`, `45s`, `3m`, `2h`, `5d`: the largest whole unit.
pub(super) fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `85 us`, `1.4 ms`, `2.5 s`.
pub(super) fn latency(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 999.5 {
        return format!("{micros:.0} us");
    }
    match micros / 1e3 {
        millis if millis < 999.5 => format!("{} ms", digits(millis)),
        millis => format!("{} s", digits(millis / 1e3)),
    }
}

/// A number of something a second, or of something: `0`, `0.3`, `12`, `4.3k`, `1.2M`.
pub(super) fn count(value: f64) -> String {
    match value {
        value if value < 0.05 => "0".to_owned(),
        value if value < 9.95 && value.fract() > 0.0 => format!("{value:.1}"),
        value if value < 999.5 => format!("{value:.0}"),
        value if value < 999_500.0 => format!("{}k", digits(value / 1e3)),
        value => format!("{}M", digits(value / 1e6)),
    }
}

/// Two digits below ten, all before the point above.
fn digits(value: f64) -> String {
    if value < 9.95 { format!("{value:.1}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_three_digits_and_a_binary_unit() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (3 << 10, "3.0 KiB"),
            (10_000, "9.8 KiB"),
            (1_048_575, "1.0 MiB"),
            (1_288_490_189, "1.2 GiB"),
            (300 << 30, "300 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(count), text, "{count}");
        }
    }

    #[test]
    fn times_have_one_unit() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (3_599, "59m"), (7_200, "2h"), (500_000, "5d")] {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
        for (micros, text) in [(0, "0 us"), (85, "85 us"), (1_440, "1.4 ms"), (25_000, "25 ms"), (2_500_000, "2.5 s")] {
            assert_eq!(latency(Duration::from_micros(micros)), text);
        }
    }

    #[test]
    fn counts_are_short() {
        for (value, text) in [(0.0, "0"), (0.3, "0.3"), (7.0, "7"), (9.99, "10"), (412.0, "412"), (4_321.0, "4.3k")] {
            assert_eq!(count(value), text);
        }
        assert_eq!(count(1.25e6), "1.2M");
    }
}
