//! Clusters of real processes, made by `tidegate init`, and runs of `tidegate run` against them.
//!
//! Waits are for something seen (a line of a log, an event of a job, an answer), with one generous bound.

mod cluster;
mod http;
mod namespaces;
mod node;
mod run;

use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use cluster::Cluster;
pub use http::{Answer, Http};
pub use namespaces::Namespaces;
pub use node::Node;
pub use run::{Ended, Run};

/// The binary under test.
pub const TIDEGATE: &str = env!("CARGO_BIN_EXE_tidegate");

/// Bound of every wait: what has not come by then will not come.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Whole clusters run one after the other, so that they do not take each other's time.
static ALONE: Mutex<()> = Mutex::new(());

/// Waits until no other cluster runs.
pub fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the binary to its end.
pub fn tidegate(args: &[&str]) -> Output {
    Command::new(TIDEGATE).args(args).output().unwrap()
}

/// What it wrote to standard error.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Ports below the range from which systems take the source ports of connections.
const PORTS: std::ops::Range<u16> = 10_000..30_000;
/// Where the next search begins; another place for each process of tests.
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// A first port such that `count` ports from it on are free for TCP and UDP.
pub fn free_ports(count: u16) -> u16 {
    let room = PORTS.end - PORTS.start - count;
    let begin = u16::try_from(std::process::id().wrapping_mul(131) % u32::from(room)).unwrap();
    loop {
        let place = NEXT_PORT.fetch_add(count, Ordering::Relaxed).wrapping_add(begin);
        let first = PORTS.start + place % room;
        let is_free = |port| {
            TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok()
        };
        if (first..first + count).all(is_free) {
            return first;
        }
    }
}
