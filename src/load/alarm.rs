//! An alarm that rings to the tenth of a millisecond.
//!
//! tokio's timers have steps of a millisecond: more than a whole request takes, and an open loop would charge it to
//! the cluster. A timer of the kernel is a file that becomes readable when its time has come, so the runtime wakes for
//! it as it wakes for a packet.

use std::io;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
pub(super) use kernel::Alarm;
#[cfg(not(target_os = "linux"))]
pub(super) use runtime::Alarm;

/// Between two wakes at least: requests that are due within it leave together. At 20,000 a second it is five requests a
/// wake; a wake costs up to 40 us on a virtual machine.
pub(super) const STEP: Duration = Duration::from_micros(200);

/// How long from now, never nothing: a timer of the kernel that is set to nothing is off.
fn wait(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1))
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::os::fd::OwnedFd;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use super::{Instant, io, wait};

    /// A timer of the kernel.
    pub(in crate::load) struct Alarm(AsyncFd<OwnedFd>);

    impl Alarm {
        /// Must be called on a tokio runtime with IO.
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for a type that changes its descriptor; an OwnedFd never does"
        )]
        pub(in crate::load) fn new() -> io::Result<Self> {
            let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            Ok(Self(AsyncFd::with_interest(timer, Interest::READABLE)?))
        }

        /// Waits until then.
        pub(in crate::load) async fn sleep_until(&self, until: Instant) -> io::Result<()> {
            let wait = wait(until);
            let seconds = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
            let it_value = Timespec { tv_sec: seconds, tv_nsec: wait.subsec_nanos().into() };
            let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
            loop {
                let mut ready = self.0.readable().await?;
                let mut rings = [0; 8];
                // Not readable after all: readiness was left over from the time before.
                if let Ok(rang) = ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut rings)?)) {
                    // Spares the next sleep a look in vain.
                    ready.clear_ready();
                    return rang.map(drop);
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod runtime {
    use super::{Instant, io, wait};

    /// A timer of the runtime.
    pub(in crate::load) struct Alarm;

    impl Alarm {
        pub(in crate::load) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        /// Waits until then.
        pub(in crate::load) async fn sleep_until(&self, until: Instant) -> io::Result<()> {
            tokio::time::sleep(wait(until)).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn alarm_never_rings_early_and_rings_again() {
        let alarm = Alarm::new().unwrap();
        for micros in [0, 50, 300, 2_000] {
            let until = Instant::now() + Duration::from_micros(micros);
            alarm.sleep_until(until).await.unwrap();
            assert!(Instant::now() >= until);
        }
        // One that was given up does not ring for the next.
        let far = alarm.sleep_until(Instant::now() + Duration::from_secs(3600));
        assert!(tokio::time::timeout(Duration::from_millis(5), far).await.is_err());
        let until = Instant::now() + Duration::from_millis(3);
        alarm.sleep_until(until).await.unwrap();
        assert!(Instant::now() >= until);
    }
}
