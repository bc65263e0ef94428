//! Arrivals against their laws, and turns against the list of times.

use std::pin::pin;
use std::task::Context;

use super::*;

fn arrivals(pace: Pace, phase: f64) -> Arrivals {
    Arrivals::new(pace, phase, Chance::new(11, 0)).unwrap()
}

#[test]
fn constant_times_never_drift() {
    // A rate whose interval is no whole number of nanoseconds: a sum of rounded intervals would be 0.1 s off.
    let mut times = arrivals(Pace::Constant(30_000.7), 0.0);
    for n in 0..3_000_000_u32 {
        let (taken, exact) = (times.take(), f64::from(n) / 30_000.7);
        assert!((taken.as_secs_f64() - exact).abs() < 2e-9, "request {n}: {taken:?} instead of {exact}");
    }
}

#[test]
fn processes_that_share_a_rate_take_turns() {
    let mut sharing: Vec<Arrivals> = (0..4_u8).map(|n| arrivals(Pace::Constant(250.0), f64::from(n) / 4.0)).collect();
    let mut times: Vec<Duration> = sharing.iter_mut().flat_map(|times| [times.take(), times.take()]).collect();
    times.sort_unstable();
    assert_eq!(times, (0..8).map(Duration::from_millis).collect::<Vec<_>>());
}

#[test]
fn poisson_counts_have_the_mean_and_variance_of_the_law() {
    // Counts per 10 ms of 2,000 a second: mean 20, and a variance as great as the mean.
    let mut times = arrivals(Pace::Poisson(2_000.0), 0.0);
    let mut counts = vec![0_u32; 20_000];
    loop {
        let window = usize::try_from(times.take().as_millis() / 10).unwrap();
        match counts.get_mut(window) {
            Some(count) => *count += 1,
            None => break,
        }
    }
    let of = |value: &dyn Fn(f64) -> f64| {
        counts.iter().map(|count| value(f64::from(*count))).sum::<f64>() / counts.len() as f64
    };
    let mean = of(&|count| count);
    let variance = of(&|count| (count - mean).powi(2));
    assert!((mean - 20.0).abs() < 0.16, "mean {mean}");
    assert!((variance - 20.0).abs() < 1.0, "variance {variance}");
}

#[test]
fn poisson_gaps_are_exponential() {
    let mut times = arrivals(Pace::Poisson(1_000.0), 0.0);
    let (mut last, mut long) = (Duration::ZERO, 0_u32);
    for _ in 0..100_000 {
        let next = times.take();
        assert!(next >= last);
        // e^-2 of the gaps are longer than twice the mean.
        long += u32::from(next > last + Duration::from_millis(2));
        last = next;
    }
    assert!((13_000..14_100).contains(&long), "{long} of 100000 gaps are longer than twice the mean");
}

/// Polls once.
fn poll<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

#[test]
fn everything_due_is_handed_out_and_charged_from_its_time() {
    let now = Instant::now();
    let Some(began) = now.checked_sub(Duration::from_secs(10)) else { return };
    // One request each second since ten seconds; the last five are measured.
    let (from, until) = (began + Duration::from_millis(4500), now + Duration::from_secs(60));
    let turns = Turns::new(Some(arrivals(Pace::Constant(1.0), 0.0)), 1.0, began, from, until);
    for second in 0..=10_u32 {
        let turn = poll(turns.next(0)).flatten().expect("ten seconds of requests are due");
        assert_eq!(turn.intended, began + Duration::from_secs(1) * second);
        assert_eq!(turn.is_measured, second >= 5);
    }
    assert!(poll(turns.next(0)).is_none(), "the next is due in a second");
    assert_eq!(turns.due(), began + Duration::from_secs(11));
    let kept = turns.finish().unwrap();
    // Those of the seconds 5 to 9, and the 10th if this test was slow; 11 to 69 were never sent.
    assert!((5..=6).contains(&kept.late), "{kept:?}");
    assert!(kept.late_max_us >= 5_000_000, "{kept:?}");
    assert_eq!(kept.unsent, 59, "{kept:?}");
}

#[test]
fn closed_loop_is_always_due_until_its_time_is_over() {
    let began = Instant::now();
    let turns = Turns::new(None, 0.0, began, began, began + Duration::from_secs(3600));
    assert!((0..100).all(|worker| poll(turns.next(worker)).flatten().is_some_and(|turn| turn.is_measured)));
    assert!(turns.finish().is_none());
    let over = Turns::new(None, 0.0, began, began, began);
    assert_eq!(poll(over.next(0)), Some(None));
}

#[test]
fn worker_that_took_a_turn_by_itself_is_not_woken_for_the_next() {
    let began = Instant::now();
    let until = began + Duration::from_secs(3600);
    let turns = Turns::new(Some(arrivals(Pace::Constant(0.001), 0.5)), 0.001, began, began, until);
    let woken = std::sync::Arc::new(Flag::default());
    let waker = Waker::from(woken.clone());
    // Worker 0 rests without a waker that counts, worker 1 with one; then 1 is polled anyway, and 0 again.
    assert!(poll(turns.next(0)).is_none());
    assert!(pin!(turns.next(1)).poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(pin!(turns.next(1)).poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(turns.0.borrow().idle, [0, 1], "a worker rests once, however often it is polled");
    assert!(!turns.wake(began) && !woken.is_set());
    assert!(!turns.wake(began + Duration::from_secs(501)) && woken.is_set());
    assert!(turns.wake(until));
}

#[derive(Default)]
struct Flag(std::sync::atomic::AtomicBool);

impl Flag {
    fn is_set(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl std::task::Wake for Flag {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
