//! A node counted: the read-only view that bounds are compared with. Drivers and simulators ask; nothing decides by it.

/// How much a node holds, for whoever compares it with its bounds. Read-only, and costs a look at every record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Records of jobs.
    pub jobs: usize,
    /// What is left of dropped jobs.
    pub tombstones: usize,
    /// Jobs that its records say are not ended.
    pub live_jobs: usize,
    /// Statistics windows of the job that has most of them.
    pub windows: usize,
    /// Volatile events of the job that has most of them.
    pub volatile: usize,
    /// Open streams and unanswered calls.
    pub callers: usize,
    /// Undecided proposals.
    pub proposals: usize,
    /// Armed timers of jobs.
    pub timers: usize,
    /// Nodes whose lease its log holds to be running.
    pub leases: usize,
    /// Members that it remembers beside itself: living, dead and never heard.
    pub members: usize,
    /// Managers: workers of which they have a record.
    pub workers: usize,
    /// Workers: cores that are kept for runs.
    pub cores: usize,
}
