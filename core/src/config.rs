//! What a node is told before it starts.

use alloc::string::String;
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use crate::bytes::Bytes;
use crate::id::{BootNo, DcId, DiskId, NodeId, Role};
use crate::jobs::ExecutorKind;
use crate::store::RowKey;
use crate::swim::Addr;
use crate::time::Duration;

/// Everything a node starts from. With the events that follow it, a recording.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Boot {
    /// The configuration.
    #[n(0)]
    pub config: NodeConfig,
    /// Which start of this disk it is; the driver has made it durable.
    #[n(1)]
    pub boot: BootNo,
    /// The identity of the disk.
    #[n(2)]
    pub disk: DiskId,
    /// Seeds the node's random stream.
    #[n(3)]
    pub seed: [u8; 32],
    /// Every durable row (but the driver's own [`crate::store::table::META`]), in key order.
    #[n(4)]
    pub rows: Vec<(RowKey, Bytes)>,
}

/// One configured node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Peer {
    /// Its id.
    #[n(0)]
    pub node: NodeId,
    /// Its configured name.
    #[n(1)]
    pub name: String,
    /// Where it takes datagrams.
    #[n(2)]
    pub addr: Addr,
}

/// One datacenter as configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Datacenter {
    /// Its name.
    #[n(0)]
    pub dc: DcId,
    /// Its managers: the voters of its tier.
    #[n(1)]
    pub managers: Vec<Peer>,
    /// Where it stands: datacenters of one region are also judged together. Its own name where it stands alone.
    #[n(2)]
    pub region: DcId,
}

/// The part of the cluster that a node knows from configuration: a gate knows gates and all datacenters, a manager
/// the gates and its own datacenter, a worker its own datacenter's managers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Roster {
    /// The gates: the voters of their tier.
    #[n(0)]
    pub gates: Vec<Peer>,
    /// The datacenters.
    #[n(1)]
    pub datacenters: Vec<Datacenter>,
}

impl Roster {
    /// The managers of a datacenter; none for an unknown one.
    pub fn managers(&self, dc: DcId) -> &[Peer] {
        self.datacenters.iter().find(|known| known.dc == dc).map_or(&[], |known| &known.managers)
    }
}

/// The configuration of one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct NodeConfig {
    /// The cluster's name; nodes of another one are refused.
    #[n(0)]
    pub cluster: String,
    /// What the node does.
    #[n(1)]
    pub role: Role,
    /// Its datacenter; [`DcId::NONE`] for gates.
    #[n(2)]
    pub dc: DcId,
    /// Its configured name.
    #[n(3)]
    pub name: String,
    /// Its id, derived from the four above.
    #[n(4)]
    pub node: NodeId,
    /// Where it takes datagrams, as others reach it.
    #[n(5)]
    pub addr: Addr,
    /// Who else there is.
    #[n(6)]
    pub roster: Roster,
    /// Workers: what it offers.
    #[n(7)]
    pub offer: Offer,
    /// Waits and periods.
    #[n(8)]
    pub timing: Timing,
    /// Bounds.
    #[n(9)]
    pub limits: Limits,
    /// Allows a tier of two voters, in which the loss of either stops it.
    #[n(10)]
    pub allow_two_voters: bool,
    /// The highest minor version that it speaks and proposes in: [`crate::wire::MINOR`], or less where a tier is to stay
    /// within reach of older binaries.
    #[n(11)]
    pub minor: u16,
}

/// What a worker offers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Offer {
    /// Cores to allocate.
    #[n(0)]
    pub cores: u16,
    /// Executors its configuration lists.
    #[n(1)]
    pub executors: Vec<ExecutorKind>,
}

/// Waits and periods (`nodes-and-protocol` 7). Every one can be configured; the simulator reads the same schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Timing {
    /// SWIM: one probe round.
    #[n(0)]
    pub swim_period: Duration,
    /// SWIM: wait for a direct answer before proxies are asked.
    #[n(1)]
    pub swim_probe_timeout: Duration,
    /// Log: a leader's heartbeat.
    #[n(2)]
    pub log_tick: Duration,
    /// Log: silence of the leader before an election, plus up to as much again at random.
    #[n(3)]
    pub leader_silence: Duration,
    /// Lease: how long a renewal holds, counted by the holder from its proposal.
    #[n(4)]
    pub lease_ttl: Duration,
    /// Lease: the holder renews this often.
    #[n(5)]
    pub lease_renew: Duration,
    /// Manager to gates: a heartbeat.
    #[n(6)]
    pub dc_heartbeat: Duration,
    /// Manager to job owner: progress.
    #[n(7)]
    pub dc_progress: Duration,
    /// Gate to client: progress.
    #[n(8)]
    pub push_progress: Duration,
    /// Worker: sample of an executor.
    #[n(9)]
    pub progress_sample: Duration,
    /// Worker to manager: progress.
    #[n(10)]
    pub progress_flush: Duration,
    /// Worker to managers: a heartbeat.
    #[n(11)]
    pub worker_heartbeat: Duration,
    /// Request repeated when unanswered for this long.
    #[n(12)]
    pub request_timeout: Duration,
    /// Both sides compare what they think runs.
    #[n(13)]
    pub reconcile: Duration,
    /// A reservation frees itself without a start.
    #[n(14)]
    pub shard_hold: Duration,
    /// Gate: a target that does not answer is replaced after this.
    #[n(15)]
    pub abandon_target: Duration,
    /// Gate: a job without any usable datacenter fails after this.
    #[n(16)]
    pub queue_deadline: Duration,
    /// Cancel: from the polite request to the kill.
    #[n(17)]
    pub cancel_grace: Duration,
    /// Cancel: a job is closed without the last confirmations after this.
    #[n(18)]
    pub cancel_deadline: Duration,
    /// Worker: shards whose owner is gone for this long follow their orphan policy.
    #[n(19)]
    pub orphan_grace: Duration,
    /// Manager: without any gate for this long after the job's limit, or after its own start, it decides itself.
    #[n(20)]
    pub no_gate_fallback: Duration,
    /// A completed job is kept for this long.
    #[n(21)]
    pub retain_completed: Duration,
    /// Any other ended job is kept for this long.
    #[n(22)]
    pub retain_other: Duration,
    /// At most this long is waited for the client to read the result.
    #[n(23)]
    pub retain_undelivered: Duration,
    /// A gate forgets a manager that it has not heard for this long; its figures are stale after half of it.
    #[n(24)]
    pub manager_stale: Duration,
    /// First wait before a lost shard is placed again; doubles up to `backoff_cap`.
    #[n(25)]
    pub backoff_base: Duration,
    /// Longest such wait.
    #[n(26)]
    pub backoff_cap: Duration,
    /// A draining node waits this long for its work (workers).
    #[n(27)]
    pub drain_timeout: Duration,
    /// How far ahead of the start the managers tell the workers, so that shards start together.
    #[n(28)]
    pub start_lead: Duration,
    /// Manager: a living worker that says nothing of a run for this long is suspected for the job.
    #[n(29)]
    pub run_silence: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        Self {
            swim_period: s(1),
            swim_probe_timeout: ms(500),
            log_tick: s(1),
            leader_silence: s(5),
            lease_ttl: s(10),
            lease_renew: s(3),
            dc_heartbeat: s(5),
            dc_progress: s(1),
            push_progress: ms(250),
            progress_sample: ms(250),
            progress_flush: ms(500),
            worker_heartbeat: s(1),
            request_timeout: s(5),
            reconcile: s(30),
            shard_hold: s(10),
            abandon_target: s(10),
            queue_deadline: s(60),
            cancel_grace: s(5),
            cancel_deadline: s(30),
            orphan_grace: s(40),
            no_gate_fallback: s(300),
            retain_completed: s(300),
            retain_other: s(3_600),
            retain_undelivered: s(86_400),
            manager_stale: s(60),
            backoff_base: s(1),
            backoff_cap: s(60),
            drain_timeout: s(300),
            start_lead: ms(200),
            run_silence: s(60),
        }
    }
}

impl Timing {
    /// The defaults of a role: managers elect a new log leader after 2 s of silence instead of 5.
    pub fn for_role(role: Role) -> Self {
        let mut timing = Self::default();
        if role == Role::Manager {
            timing.leader_silence = Duration::from_secs(2);
        }
        timing
    }
}

/// Bounds (`jobs-routing-stats` 0.5). At each the node refuses or evicts as the field says; nothing grows without one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Limits {
    /// Live jobs on a gate or manager; beyond it submissions get `Overloaded`.
    #[n(0)]
    pub jobs: u32,
    /// Jobs of one tenant on a gate; beyond it submissions get `Overloaded`.
    #[n(1)]
    pub jobs_per_tenant: u32,
    /// Event streams of one job on a gate; beyond it `Overloaded`.
    #[n(2)]
    pub streams_per_job: u16,
    /// Volatile events kept per job; the oldest go first, and a `Gap` tells of them.
    #[n(3)]
    pub event_ring: u16,
    /// Statistics windows kept per workflow; the oldest go first.
    #[n(4)]
    pub window_ring: u16,
    /// Tombstones and remembered idempotency keys; the oldest go first.
    #[n(5)]
    pub tombstones: u32,
    /// Unanswered API calls on a gate; beyond it `Overloaded`.
    #[n(6)]
    pub calls: u32,
    /// Results that a worker holds unacknowledged; beyond it reservations are refused.
    #[n(7)]
    pub worker_outbox: u16,
    /// Applied log entries that a gate or manager keeps for slow followers; older ones go, and who needs them gets the
    /// whole state.
    #[n(8)]
    pub log_keep: u32,
    /// Rows of the state in one message to a follower that gets the whole of it, from 1 to 32; the rest follows in
    /// further messages.
    #[n(9)]
    pub image_rows: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            jobs: 10_000,
            jobs_per_tenant: 10_000,
            streams_per_job: 32,
            event_ring: 200,
            window_ring: 120,
            tombstones: 65_536,
            calls: 10_000,
            worker_outbox: 1_024,
            log_keep: 512,
            image_rows: 32,
        }
    }
}
