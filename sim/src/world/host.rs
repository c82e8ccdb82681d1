//! One machine of a world: its process, clocks, disk, executors, and what waits for it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use tidegate_core::config::{Datacenter, NodeConfig, Offer, Peer as ConfigPeer, Roster};
use tidegate_core::event::Event;
use tidegate_core::id::{CallId, DcId, DiskId, NodeId, Role};
use tidegate_core::jobs::ExecutorKind;
use tidegate_core::swim::Addr;
use tidegate_core::wire::{MINOR, Mark};

use super::client::Client;
use super::clock::{Clock, Time};
use super::disk::Disk;
use super::exec::Execution;
use super::facts::HostInfo;
use super::fate::{About, Fate, key, node_key};
use super::points::Passed;
use crate::plan::{BadPlan, ClusterPlan, Greets, LoadPlan, PREVIOUS, Plan};

/// The name of every simulated cluster.
pub(super) const CLUSTER: &str = "sim";

/// What runs on a host.
pub(super) enum Actor<M> {
    /// Nothing.
    Nothing,
    /// A node's process.
    Node(Box<M>),
    /// A client program.
    Client(Box<Client>),
}

/// One other end of this host's ordered connections.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub node: NodeId,
    /// Which link, and which of its ends this host is.
    pub link: u32,
    pub end: u8,
    /// Numbers the frames to that peer by their kind: the number of a message in its fate.
    pub sent: Box<[u32; Peer::KINDS]>,
}

impl Peer {
    /// Kinds of messages are numbered below 56; the rest are the frames of clients.
    pub const KINDS: usize = 64;
    /// A client's request on its way to a gate.
    pub const KIND_UP: usize = 60;
    /// A gate's answer or event on its way to a client.
    pub const KIND_DOWN: usize = 61;
    /// The end of a connection.
    pub const KIND_END: usize = 62;
}

/// Hashes of host numbers: spread already, looked up only.
#[derive(Default)]
pub(super) struct PlainHasher(u64);

impl std::hash::Hasher for PlainHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }
    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }
    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

/// Counts by host. Never iterated.
pub(super) type CountByHost = HashMap<u32, u32, BuildHasherDefault<PlainHasher>>;

/// One host.
pub(super) struct Host<M> {
    pub actor: Actor<M>,
    /// What its decisions are keyed by.
    pub key: u64,
    /// Which region, as a place in the world's table.
    pub region: u32,
    /// Of a node. Boxed: it is large and rarely read.
    pub config: Option<Box<NodeConfig>>,
    /// What differs in its greetings, and how its datagrams begin.
    pub greets: Greets,
    pub mark: Mark,
    pub clock: Clock,
    pub disk: Disk,
    /// How often each point of its driver was passed.
    pub passed: Passed,
    /// Completions of writes that the process will hear of late: how many, and when the newest of them.
    pub completing: u32,
    pub completes_at: Time,
    /// Of a client: it reads an event of a stream this much late.
    pub reads_late: Time,
    /// Sorted by id.
    pub peers: Vec<Peer>,
    pub datagrams_sent: CountByHost,
    /// When the timer fires that is in the queue; `Time::MAX` where none is.
    pub wake: Time,
    pub wakes: u64,
    /// Steps at one instant of the world: the instant, and how many.
    pub steps_at: (Time, u32),
    /// How many freezes are on.
    pub frozen: u32,
    pub slow_us: u64,
    /// What others use of its machine; and how many samples its driver still takes.
    pub loads: Vec<LoadPlan>,
    pub samples: u32,
    /// It drains, and starts again when that is done.
    pub comes_back: bool,
    /// A slow process is busy with its last step until then.
    pub busy_until: Time,
    /// What waits while it is frozen or busy, with the time of arrival.
    pub inbox: VecDeque<(Time, Event)>,
    /// Whether the queue holds an entry that empties the inbox.
    pub resume_due: bool,
    /// Everything from and to it takes this much longer.
    pub delay_us: u64,
    /// So many of 1,000 datagrams from and to it are lost.
    pub loss_permille: u16,
    pub executions: BTreeMap<u32, Execution>,
    pub executions_begun: u32,
    /// Calls of clients that reached this gate's process, and whether they are answered.
    pub open_calls: BTreeMap<CallId, bool>,
}

impl<M> Host<M> {
    pub fn new(info: &HostInfo, config: Option<NodeConfig>, region: u32, fate: Fate, mono_ppm: u32) -> Self {
        let key = if info.role.is_some() { node_key(info.node) } else { key(&info.name) };
        let rate = fate.of(key).decide(About::Clock, 0, 0).below(u64::from(mono_ppm) * 2 + 1);
        Self {
            actor: Actor::Nothing,
            key,
            region,
            config: config.map(Box::new),
            greets: Greets::default(),
            mark: Mark::of(CLUSTER),
            clock: Clock::with_rate(rate as i32 - mono_ppm as i32),
            disk: Disk::new(disk_id(fate, key, 0)),
            passed: [0; _],
            completing: 0,
            completes_at: 0,
            reads_late: 0,
            peers: Vec::new(),
            datagrams_sent: CountByHost::default(),
            wake: Time::MAX,
            wakes: 0,
            steps_at: (0, 0),
            frozen: 0,
            slow_us: 0,
            loads: Vec::new(),
            samples: 0,
            comes_back: false,
            busy_until: 0,
            inbox: VecDeque::new(),
            resume_due: false,
            delay_us: 0,
            loss_permille: 0,
            executions: BTreeMap::new(),
            executions_begun: 0,
            open_calls: BTreeMap::new(),
        }
    }

    pub const fn runs(&self) -> bool {
        !matches!(self.actor, Actor::Nothing)
    }

    /// Place of a peer in `peers`.
    #[inline]
    pub fn peer(&self, node: NodeId) -> Option<usize> {
        match self.peers.as_slice() {
            few if few.len() <= 8 => few.iter().position(|peer| peer.node == node),
            many => many.binary_search_by_key(&node, |peer| peer.node).ok(),
        }
    }
}

/// The identity of the n-th disk in a machine.
pub(super) fn disk_id(fate: Fate, key: u64, number: u64) -> DiskId {
    let [low, high] = [0, 1].map(|part| fate.of(key).decide(About::DiskId, part, number).0);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&low.to_le_bytes());
    id[8..].copy_from_slice(&high.to_le_bytes());
    DiskId(id)
}

/// The address of a host: its place in the world.
pub(super) fn address(host: usize) -> Addr {
    let mut ip = [0; 16];
    ip[0] = 0xfd;
    ip[12..].copy_from_slice(&(host as u32).to_be_bytes());
    Addr { ip, port: 7000 }
}

/// The host at an address; none for one that no host of this size of world has.
pub(super) fn host_at(addr: Addr, hosts: usize) -> Option<usize> {
    let [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] = addr.ip else {
        return None;
    };
    let host = u32::from_be_bytes([a, b, c, d]) as usize;
    (addr.port == 7000 && host < hosts).then_some(host)
}

/// The hosts of a plan: nodes, then clients.
pub(super) fn hosts_of(plan: &Plan) -> Result<(Vec<HostInfo>, usize), BadPlan> {
    let cluster = &plan.cluster;
    let node = |name: String, role: Role, dc: DcId, region: String| HostInfo {
        node: NodeId::derive(CLUSTER, role, dc.as_str(), name.rsplit('/').next().unwrap_or(&name)),
        name,
        role: Some(role),
        dc,
        region,
    };
    let mut hosts = Vec::new();
    for n in 0..cluster.gates {
        let region = cluster.gate_regions.get(usize::from(n)).cloned().unwrap_or_else(|| "core".into());
        hosts.push(node(format!("g{}", n + 1), Role::Gate, DcId::NONE, region));
    }
    for dc in &cluster.datacenters {
        let id = DcId::new(&dc.name).map_err(|_| BadPlan(format!("{:?} is no datacenter name", dc.name)))?;
        let managers = (1..=usize::from(dc.managers)).map(|n| (Role::Manager, format!("{}/m{n}", dc.name)));
        let workers = (1..=dc.workers.len()).map(|n| (Role::Worker, format!("{}/w{n}", dc.name)));
        hosts.extend(managers.chain(workers).map(|(role, name)| node(name, role, id, dc.name.clone())));
    }
    let nodes = hosts.len();
    hosts.extend(plan.clients.iter().map(|client| HostInfo {
        node: NodeId::derive("clients", Role::Gate, "", &client.name),
        name: format!("client:{}", client.name),
        role: None,
        dc: DcId::NONE,
        region: client.region.clone(),
    }));
    Ok((hosts, nodes))
}

/// The configuration of every node.
pub(super) fn configs(cluster: &ClusterPlan, hosts: &[HostInfo]) -> Vec<NodeConfig> {
    let peer = |(ix, host): (usize, &HostInfo)| ConfigPeer {
        node: host.node,
        name: short(&host.name).into(),
        addr: address(ix),
    };
    let peers = |role: Role, dc: DcId| -> Vec<ConfigPeer> {
        let fits = |(_, host): &(usize, &HostInfo)| host.role == Some(role) && host.dc == dc;
        hosts.iter().enumerate().filter(fits).map(peer).collect()
    };
    let gates = peers(Role::Gate, DcId::NONE);
    let mut datacenters = Vec::new();
    for plan in &cluster.datacenters {
        if let Ok(dc) = DcId::new(&plan.name) {
            let region = DcId::new(plan.region()).unwrap_or(dc);
            datacenters.push(Datacenter { dc, managers: peers(Role::Manager, dc), region });
        }
    }
    let config = |(ix, host): (usize, &HostInfo)| {
        let role = host.role.unwrap_or(Role::Gate);
        let own = || datacenters.iter().filter(|dc| dc.dc == host.dc).cloned().collect();
        let roster = match role {
            Role::Gate => Roster { gates: gates.clone(), datacenters: datacenters.clone() },
            Role::Manager => Roster { gates: gates.clone(), datacenters: own() },
            Role::Worker => Roster { gates: Vec::new(), datacenters: own() },
        };
        NodeConfig {
            cluster: CLUSTER.into(),
            role,
            dc: host.dc,
            name: short(&host.name).into(),
            node: host.node,
            addr: address(ix),
            roster,
            offer: offer(cluster, host),
            timing: cluster.timing(role),
            limits: cluster.limits(),
            allow_two_voters: cluster.allow_two_voters,
            minor: if cluster.old_version.contains(&host.name) { PREVIOUS } else { MINOR },
        }
    };
    hosts.iter().enumerate().map(config).collect()
}

/// The configured name: without the datacenter.
fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn offer(cluster: &ClusterPlan, host: &HostInfo) -> Offer {
    let place = short(&host.name).strip_prefix('w').and_then(|n| n.parse::<usize>().ok());
    let dc = cluster.datacenters.iter().find(|dc| dc.name == host.dc.as_str());
    let worker = place.zip(dc).and_then(|(place, dc)| dc.workers.get(place.checked_sub(1)?));
    match (host.role, worker) {
        (Some(Role::Worker), Some(worker)) => Offer {
            cores: worker.cores,
            executors: if worker.executors.is_empty() {
                vec![ExecutorKind::Sleep, ExecutorKind::Http, ExecutorKind::Command]
            } else {
                worker.executors.iter().map(|&executor| executor.into()).collect()
            },
        },
        _ => Offer::default(),
    }
}
