//! Time that this thread really ran. On a shared machine the wall clock measures the neighbours.

/// Nanoseconds of processor time of this thread; wall time where the system does not tell.
pub fn nanos() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let told = told.and_then(|text| text.split(' ').next().and_then(|nanos| nanos.parse().ok()));
    told.unwrap_or_else(wall)
}

fn wall() -> u64 {
    static BEGAN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    BEGAN.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64
}

/// Runs it; how many seconds of processor time it took.
pub fn seconds<T>(run: impl FnOnce() -> T) -> (f64, T) {
    let begin = nanos();
    let out = run();
    ((nanos() - begin) as f64 / 1e9, out)
}
