//! Where numbers come from that no seed decides.

use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::SystemTime;

use tidegate_core::event::Event;

use super::leaky::{Into, Leak};

macro_rules! sources {
    ($($(#[$doc:meta])* $name:ident = $text:literal into $into:ident: $number:expr;)+) => {
        $($(#[$doc])* pub struct $name;
        impl Leak for $name {
            const NAME: &'static str = $text;
            const INTO: Into = Into::$into;
            fn number() -> u64 {
                $number
            }
        })+
    };
}

sources! {
    /// The order in which a table with a random hasher is walked.
    HashOrder = "hash order" into Observation: {
        let table: HashMap<u32, ()> = (0..64).map(|key| (key, ())).collect();
        digest(table.keys().copied().collect::<Vec<u32>>())
    };
    /// A counter that outlives a world.
    Counter = "static counter" into Message: {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        RUNS.fetch_add(1, Ordering::Relaxed)
    };
    /// Where the allocator put something.
    Address = "heap address" into Observation: std::ptr::from_ref(&*Box::new(0u8)).addr() as u64;
    /// Entropy of the operating system, by the only door that the standard library has to it.
    Entropy = "OS entropy" into Observation: RandomState::new().hash_one(0);
    /// The wall clock.
    Clock = "wall clock" into Message: {
        SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64)
    };
    /// Which of several threads was first, each time.
    ThreadOrder = "thread order" into Observation: digest(race());
    /// What the process was started with.
    Environment = "environment" into Timer: {
        let mut all: Vec<_> = std::env::vars_os().collect();
        all.sort();
        digest(all)
    };
    /// The order in which floats are summed. Each is exact by itself; what is lost in the sum hangs on the order.
    FloatOrder = "float order" into Observation: digest((0..8).map(|_| unordered_sum()).collect::<Vec<u64>>());
}

/// What an earlier use left in a buffer: what an uninitialised pad comes to where no code is unsafe.
pub struct StaleBytes;

static BUFFER: Mutex<[u8; 4096]> = Mutex::new([0; 4096]);

impl Leak for StaleBytes {
    const NAME: &'static str = "stale bytes";
    const INTO: Into = Into::Message;
    fn see(event: &Event) {
        let mut buffer = BUFFER.lock().expect("nobody panics with it");
        // A longer text is cut.
        let _ = write!(buffer.as_mut_slice(), "{event:?}");
    }
    fn number() -> u64 {
        digest(*BUFFER.lock().expect("nobody panics with it"))
    }
}

/// None at all.
pub struct Nothing;

impl Leak for Nothing {
    const NAME: &'static str = "nothing";
    const INTO: Into = Into::Message;
    const SOUND: bool = true;
    fn number() -> u64 {
        4
    }
}

/// A digest without a random key.
fn digest(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Four threads write their number down, again and again.
fn race() -> Vec<u8> {
    let (order, start) = (Mutex::new(Vec::new()), Barrier::new(4));
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (order, start) = (&order, &start);
            scope.spawn(move || {
                start.wait();
                for _ in 0..500 {
                    order.lock().expect("nobody panics with it").push(number);
                    std::thread::yield_now();
                }
            });
        }
    });
    order.into_inner().expect("nobody panicked")
}

/// Large floats that cancel each other, and small ones that are lost or not on the way.
fn unordered_sum() -> u64 {
    let table: HashMap<u32, f64> = (0..64u32)
        .map(|key| {
            let large = 2f64.powi(50 + (key / 2 % 8) as i32);
            (key, if key % 2 == 0 { large } else { 0.3 * f64::from(key) - large })
        })
        .collect();
    table.values().sum::<f64>().to_bits()
}
