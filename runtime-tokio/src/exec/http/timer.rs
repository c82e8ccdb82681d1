//! Sleeping to the microsecond. The runtime's own timers tick in milliseconds, which an open model would show as
//! latency of the target.

#[cfg(target_os = "linux")]
use std::time::Duration;
use std::time::Instant;

#[cfg(target_os = "linux")]
pub(super) use precise::Timer;

#[cfg(target_os = "linux")]
mod precise {
    use std::io;
    use std::os::fd::OwnedFd;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;

    use super::{Duration, Instant};

    /// A kernel timer of one load thread.
    pub(in super::super) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        /// Needs the runtime that it will sleep on.
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types whose descriptor may change under the runtime: an owned one cannot"
        )]
        pub(in super::super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            Ok(Self(AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags)?)?))
        }

        /// Returns at that moment, or at once where it is past. May be dropped and called again.
        pub(in super::super) async fn sleep_until(&self, at: Instant) -> io::Result<()> {
            loop {
                let left = at.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(());
                }
                self.arm(left)?;
                let mut guard = self.0.readable().await?;
                // Reading takes the expiry away; without one the wake was left over from an earlier sleep.
                let _ = guard.try_io(|fd| Ok(rustix::io::read(fd, &mut [0; 8])?));
            }
        }

        fn arm(&self, left: Duration) -> io::Result<()> {
            let once = Timespec { tv_sec: 0, tv_nsec: 0 };
            let value = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            let spec = Itimerspec { it_interval: once, it_value: value };
            timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &spec)?;
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) use coarse::Timer;

#[cfg(not(target_os = "linux"))]
mod coarse {
    use std::io;

    use super::Instant;

    /// The runtime's timer: up to a millisecond late.
    pub(in super::super) struct Timer;

    impl Timer {
        pub(in super::super) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub(in super::super) async fn sleep_until(&self, at: Instant) -> io::Result<()> {
            tokio::time::sleep_until(at.into()).await;
            Ok(())
        }
    }
}
