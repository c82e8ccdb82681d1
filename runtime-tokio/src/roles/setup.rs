//! Putting a node together, and taking it down.

use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tidegate_core::config::{Datacenter, Limits, NodeConfig, Offer, Peer, Roster, Timing};
use tidegate_core::effect::HaltReason;
use tidegate_core::id::{DcId, NodeId, Role};
use tidegate_core::swim::Addr;
use tidegate_core::wire::{Features, Hello, dials};
use tidegate_core::{Boot, Node, Observation, WallTime};
use tokio::task::AbortHandle;

use crate::config::{Member, NamedRoster};
use crate::disk::{Disk, Opened, Writer};
use crate::driver::{
    ApiHandle, Driver, DriverHandle, ExecEvents, ExecutorsFactory, Exit, Inbox, InboxSender, Metrics,
    NodeClock, Parts, Testimony, keep_sampling,
};
use crate::net::{
    Bound, Claims, DatagramSender, KeyRing, Links, LinksConfig, NodeTls, Opener, Sealer, Target,
    receive_datagrams, resolve, to_addr,
};
use crate::record::Recorder;

/// How long a node waits at its start for the names of its peers to get addresses.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(30);

/// Everything a node is made of.
pub struct NodeSetup {
    /// Its certificate; says which node it is.
    pub tls: NodeTls,
    /// The cluster's gossip keys.
    pub gossip: KeyRing,
    /// Its sockets.
    pub bound: Bound,
    /// `host:port` at which others reach them.
    pub advertise: String,
    /// Whom it knows, as its role may.
    pub roster: NamedRoster,
    /// Where its rows are.
    pub data_dir: PathBuf,
    /// What it offers (workers).
    pub offer: Offer,
    /// Waits and periods.
    pub timing: Timing,
    /// Bounds.
    pub limits: Limits,
    /// Allows a tier of two voters.
    pub allow_two_voters: bool,
    /// What it does not use with other nodes, although its version could.
    pub without: Features,
    /// Makes its executors (workers).
    pub executors: Option<ExecutorsFactory>,
    /// Where its life is recorded.
    pub record: Option<PathBuf>,
    /// Hears its observations too.
    pub tap: Option<Sender<(WallTime, Observation)>>,
}

/// Why a node did not start. Its text tells the operator what to do.
#[derive(Debug)]
pub struct StartError {
    why: String,
    code: u8,
}

/// Exit code of a node that could not start.
const CANNOT_START: u8 = 1;

impl StartError {
    pub(super) fn new(why: impl fmt::Display) -> Self {
        Self { why: why.to_string(), code: CANNOT_START }
    }

    /// The exit code of a process that was to serve this node alone (documented in `docs/configuration.md`).
    pub const fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for StartError {}

/// A node that has been read from its disk.
struct Life {
    node: Node,
    hello: Hello,
    recorder: Option<Recorder>,
    disk: Disk,
    session: u64,
}

/// Receives datagrams until it is aborted.
fn keep_receiving(udp: Arc<UdpSocket>, opener: Opener, inbox: InboxSender, metrics: Metrics) -> AbortHandle {
    let receive = receive_datagrams(udp, opener, inbox, metrics);
    let task = tokio::spawn(async move {
        if let Err(error) = receive.await {
            tracing::error!("datagrams cannot be received: {error}");
        }
    });
    task.abort_handle()
}

/// A node that runs. Without [`RunningNode::wait`] nobody takes it down.
#[derive(Debug)]
pub struct RunningNode {
    driver: DriverHandle,
    links: Links,
    datagrams: AbortHandle,
    samples: AbortHandle,
    writer: Writer,
    api: ApiHandle,
    metrics: Metrics,
    node: NodeId,
    addr: SocketAddr,
}

impl NodeSetup {
    /// Starts the node. Needs a tokio runtime, whose threads serve its sockets.
    pub async fn start(self) -> Result<RunningNode, StartError> {
        let claims = self.tls.claims.clone();
        let me = claims.node();
        let config = self.node_config(&claims).await?;
        let Life { node, hello, recorder, disk, session } = self.wake_up(config)?;
        let metrics = Metrics::default();
        let clock = NodeClock::start();
        let (sender, inbox) = Inbox::new(clock);
        let (writer, store) =
            Writer::start(disk, sender.clone(), metrics.clone()).map_err(StartError::new)?;
        let udp = Arc::new(self.bound.udp);
        let sealer = Sealer::new(&self.gossip, &claims.cluster, me, session)
            .ok_or_else(|| StartError::new("there is no gossip key"))?;
        let opener = Opener::new(self.gossip, claims.cluster.clone());
        let datagrams = keep_receiving(Arc::clone(&udp), opener, sender.clone(), metrics.clone());
        let parts = Parts {
            node,
            clock,
            store,
            datagrams: DatagramSender::new(udp, sealer, metrics.clone()),
            executors: self.executors.map(|make| make(ExecEvents::new(sender.clone()))),
            testimony: Testimony::new(claims.name.clone(), metrics.clone(), self.tap),
            recorder,
            metrics: metrics.clone(),
        };
        let driver =
            Driver::new(inbox, parts).spawn(&claims.name, sender.clone()).map_err(StartError::new)?;
        let links = LinksConfig {
            targets: targets(&claims, &self.roster),
            known: peers(&claims, &self.roster).map(|(node, ..)| node).collect(),
            me: hello,
            tls: self.tls,
        };
        let links =
            Links::start(self.bound.tcp, links, sender.clone(), metrics.clone()).map_err(StartError::new)?;
        let samples = keep_sampling(sender.clone());
        let api = ApiHandle::new(sender);
        let addr = self.bound.addr;
        Ok(RunningNode { driver, links, datagrams, samples, writer, api, metrics, node: me, addr })
    }

    /// The node as its disk left it, with this start counted there.
    fn wake_up(&self, config: NodeConfig) -> Result<Life, StartError> {
        let Opened { disk, id, boot, session, rows } =
            Disk::open(&self.data_dir, config.node).map_err(StartError::new)?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(StartError::new)?;
        let boot = Boot { config, boot, disk: id, seed, rows };
        let record = |path: &PathBuf| {
            Recorder::create(path, &boot)
                .map_err(|error| StartError::new(format!("cannot record to {}: {error}", path.display())))
        };
        let recorder = self.record.as_ref().map(record).transpose()?;
        let hello = Hello::of(&boot.config, boot.boot, self.without);
        let node = Node::new(boot).map_err(|reason| {
            let dir = self.data_dir.display();
            let why = format!("the node cannot start from its rows in {dir}: {}", explain(reason));
            StartError { why, code: Exit::Halted(reason).code() }
        })?;
        Ok(Life { node, hello, recorder, disk, session })
    }

    async fn node_config(&self, claims: &Claims) -> Result<NodeConfig, StartError> {
        let mut roster = Roster {
            gates: self.peers(claims, Role::Gate, DcId::NONE, &self.roster.gates).await?,
            ..Roster::default()
        };
        for datacenter in &self.roster.datacenters {
            let managers = self.peers(claims, Role::Manager, datacenter.dc, &datacenter.managers).await?;
            roster.datacenters.push(Datacenter { dc: datacenter.dc, managers, region: datacenter.region });
        }
        Ok(NodeConfig {
            cluster: claims.cluster.clone(),
            role: claims.role,
            dc: claims.dc,
            name: claims.name.clone(),
            node: claims.node(),
            addr: addr_of(&self.advertise).await?,
            roster,
            offer: self.offer.clone(),
            timing: self.timing.clone(),
            limits: self.limits.clone(),
            allow_two_voters: self.allow_two_voters,
            minor: tidegate_core::wire::MINOR,
        })
    }

    async fn peers(
        &self,
        claims: &Claims,
        role: Role,
        dc: DcId,
        members: &[Member],
    ) -> Result<Vec<Peer>, StartError> {
        let mut peers = Vec::new();
        for member in members {
            let node = NodeId::derive(&claims.cluster, role, dc.as_str(), &member.name);
            peers.push(Peer { node, name: member.name.clone(), addr: addr_of(&member.address).await? });
        }
        Ok(peers)
    }
}

/// A reason to end, for the operator.
pub(super) fn explain(reason: HaltReason) -> &'static str {
    match reason {
        HaltReason::Drained => "it was drained",
        HaltReason::StoreFailed => "a durable write failed",
        HaltReason::OldDisk => "its tier knows a newer disk of this node; this one is an old image",
        HaltReason::BadRows => "its rows do not decode, or are of a newer version",
        HaltReason::OldVersion => "all nodes of its tier have run a newer version; start that one",
        HaltReason::BadVoters => {
            "the configured voters cannot be used: the node is not among them, there are two, or its disk voted elsewhere"
        }
    }
}

async fn addr_of(address: &str) -> Result<Addr, StartError> {
    resolve(address, RESOLVE_PATIENCE).await.map(to_addr).map_err(StartError::new)
}

/// Every gate and manager of a roster but the node itself.
fn peers<'a>(
    claims: &'a Claims,
    roster: &'a NamedRoster,
) -> impl Iterator<Item = (NodeId, Role, &'a Member)> {
    let gates = roster.gates.iter().map(|member| (Role::Gate, DcId::NONE, member));
    let managers = roster
        .datacenters
        .iter()
        .flat_map(|known| known.managers.iter().map(|member| (Role::Manager, known.dc, member)));
    let me = claims.node();
    gates
        .chain(managers)
        .map(|(role, dc, member)| {
            (NodeId::derive(&claims.cluster, role, dc.as_str(), &member.name), role, member)
        })
        .filter(move |(node, ..)| *node != me)
}

/// Whom the node dials: see [`dials`].
fn targets(claims: &Claims, roster: &NamedRoster) -> Vec<Target> {
    let me = (claims.role, claims.node());
    peers(claims, roster)
        .filter(|(node, role, _)| dials(me, (*role, *node)))
        .map(|(node, _, member)| Target { node, name: member.name.clone(), address: member.address.clone() })
        .collect()
}

impl RunningNode {
    /// The node's id.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Where it listens, TCP and UDP.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Calls it (gates).
    pub fn api(&self) -> ApiHandle {
        self.api.clone()
    }

    /// Its counters.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Asks it to finish and leave.
    pub fn drain(&self) {
        self.driver.drain();
    }

    /// Ends it as if its process had been killed: nothing is said to anybody. What was reported as stored is durable.
    pub fn stop(&self) {
        self.driver.stop();
    }

    /// Resolves when the node has ended; it is still to be taken down by [`RunningNode::wait`].
    pub async fn ended(&mut self) -> Exit {
        self.driver.ended().await
    }

    /// Waits until the node has ended, then takes everything down: connections after their last messages, the disk
    /// after its last batch.
    pub async fn wait(mut self) -> Exit {
        let exit = self.driver.ended().await;
        self.datagrams.abort();
        self.samples.abort();
        match exit {
            Exit::Halted(_) => self.links.shutdown().await,
            Exit::Stopped | Exit::Panicked => drop(self.links),
        }
        let (driver, writer) = (self.driver, self.writer);
        let joined = tokio::task::spawn_blocking(move || {
            driver.join();
            writer.join();
        });
        if joined.await.is_err() {
            tracing::error!("the node's threads could not be waited for");
        }
        exit
    }
}
