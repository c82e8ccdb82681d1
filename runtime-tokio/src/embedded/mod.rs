//! A whole cluster in this process: real nodes, real loopback sockets, mutual TLS, throw-away certificates and disks.
//!
//! Input: how many of each. Output: the addresses of its gates, and the built-in demo target. It is what `tidegate run`
//! starts without `--gate`; nothing of it outlives the process.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use clap::Args;
use tidegate_core::api::{Answer, DcView, Identity, Request};
use tidegate_core::config::{Limits, Offer, Timing};
use tidegate_core::id::{DcId, Role};
use tidegate_core::jobs::ExecutorKind;
use tidegate_core::time::Duration as Span;
use tidegate_core::wire::Features;
use tidegate_core::{Observation, WallTime};
use tokio::task::JoinHandle;

use crate::cli::remote::{Access, Gate};
use crate::config::{Member, NamedDatacenter, NamedRoster};
use crate::demo::Demo;
use crate::driver::Reply;
use crate::exec::{Policy, Secrets, factory};
use crate::http::{ApiState, Listener, Tokens, router, serve};
use crate::init::Authority;
use crate::jobfile::BaseUrl;
use crate::net::{Bound, Claims, KeyRing, NodeTls};
use crate::roles::{NodeSetup, RunningNode};

#[cfg(test)]
mod tests;

/// The cluster's name in certificates and seals.
const CLUSTER: &str = "embedded";
/// The nodes find each other within this, or something is wrong.
const ASSEMBLY_PATIENCE: Duration = Duration::from_secs(20);
/// And are asked this often.
const ASSEMBLY_POLL: Duration = Duration::from_millis(20);
/// The nodes are stopped for good after this.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// How many nodes of each role.
#[derive(Clone, Debug, Args)]
pub struct Shape {
    /// Gates of the cluster in this process.
    #[arg(long, default_value_t = 1, value_parser = voters, conflicts_with = "gate")]
    pub gates: u16,
    /// Its datacenters.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=8), conflicts_with = "gate")]
    pub datacenters: u16,
    /// Managers of each datacenter.
    #[arg(long, default_value_t = 1, value_parser = voters, conflicts_with = "gate")]
    pub managers: u16,
    /// Workers of each datacenter.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16), conflicts_with = "gate")]
    pub workers: u16,
    /// Let jobs start processes on this machine (the `command` executor).
    #[arg(long, conflicts_with = "gate")]
    pub allow_command: bool,
}

/// Reads how many nodes a tier has.
fn voters(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(count @ (1 | 3 | 5)) => Ok(count),
        Ok(2 | 4) => {
            Err("an even tier survives no more losses than one node fewer; take 1, 3 or 5".to_owned())
        }
        _ => Err("take 1, 3 or 5".to_owned()),
    }
}

/// A running cluster.
pub struct Embedded {
    nodes: Vec<RunningNode>,
    gates: Vec<Gate>,
    apis: Vec<JoinHandle<()>>,
    demo: Option<Demo>,
    // Dropped last: the nodes' disks and certificates are in it.
    _folder: tempfile::TempDir,
}

/// One node before it starts.
struct Seat {
    claims: Claims,
    bound: Bound,
}

impl Embedded {
    /// Starts the cluster, and the demo target where it is wanted. The text of an error is for the user.
    pub async fn start(shape: &Shape, with_demo: bool) -> Result<Self, String> {
        Self::start_heard(shape, with_demo, None).await
    }

    /// The same, with somebody who hears every observation of every node.
    pub(crate) async fn start_heard(
        shape: &Shape,
        with_demo: bool,
        tap: Option<Sender<(WallTime, Observation)>>,
    ) -> Result<Self, String> {
        let folder =
            tempfile::tempdir().map_err(|error| format!("no folder for the cluster's disks: {error}"))?;
        let authority = Authority::new(CLUSTER).map_err(|error| error.to_string())?;
        let mut gossip = [0; 32];
        getrandom::fill(&mut gossip).map_err(|error| format!("no random numbers: {error}"))?;

        let seats = seats(shape)?;
        let roster = roster(&seats);
        let demo = if with_demo { Some(start_demo().await?) } else { None };
        let mut cluster =
            Self { nodes: Vec::new(), gates: Vec::new(), apis: Vec::new(), demo, _folder: folder };
        for seat in seats {
            let is_gate = seat.claims.role == Role::Gate;
            let mut setup = cluster.setup(seat, &authority, &roster, gossip, shape)?;
            setup.tap = tap.clone();
            let node = setup.start().await.map_err(|error| error.to_string())?;
            if is_gate {
                cluster.open_api(&node).await?;
            }
            cluster.nodes.push(node);
        }
        cluster.assemble(shape).await?;
        Ok(cluster)
    }

    /// Waits until every gate sees every datacenter with all its workers: a job that is submitted before would run on
    /// what there is.
    async fn assemble(&self, shape: &Shape) -> Result<(), String> {
        let deadline = tokio::time::Instant::now() + ASSEMBLY_PATIENCE;
        for gate in self.nodes.iter().take(shape.gates.into()) {
            while !sees_all(gate, shape).await {
                if tokio::time::Instant::now() >= deadline {
                    return Err(format!(
                        "the cluster did not come together within {} s",
                        ASSEMBLY_PATIENCE.as_secs()
                    ));
                }
                tokio::time::sleep(ASSEMBLY_POLL).await;
            }
        }
        Ok(())
    }

    /// The gates, as a client reaches them.
    pub fn gates(&self) -> Vec<Gate> {
        self.gates.clone()
    }

    /// The demo target, where it was started.
    pub fn demo(&self) -> Option<BaseUrl> {
        self.demo.as_ref().map(Demo::base_url)
    }

    /// Takes the cluster down: workers first, so that nothing waits for one that is gone.
    pub async fn stop(self) {
        for node in &self.nodes {
            node.stop();
        }
        for api in &self.apis {
            api.abort();
        }
        for node in self.nodes {
            if tokio::time::timeout(DRAIN_PATIENCE, node.wait()).await.is_err() {
                tracing::warn!("a node did not end in time; the process ends without it");
            }
        }
    }

    fn setup(
        &self,
        seat: Seat,
        authority: &Authority,
        roster: &NamedRoster,
        gossip: [u8; 32],
        shape: &Shape,
    ) -> Result<NodeSetup, String> {
        let Seat { claims, bound } = seat;
        let folder =
            self._folder.path().join(format!("{}-{}-{}", claims.role.as_str(), claims.dc, claims.name));
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let tls = issue(authority, &claims, &folder)?;
        let executors: Vec<_> = [ExecutorKind::Sleep, ExecutorKind::Http]
            .into_iter()
            .chain(shape.allow_command.then_some(ExecutorKind::Command))
            .collect();
        let is_worker = claims.role == Role::Worker;
        let policy =
            Policy { executors: executors.clone(), secrets: Secrets::from_env(), ..Policy::default() };
        Ok(NodeSetup {
            tls,
            gossip: KeyRing::new(&[gossip]),
            advertise: bound.addr.to_string(),
            bound,
            roster: known_to(&claims, roster),
            data_dir: folder,
            offer: if is_worker { Offer { cores: cores(shape), executors } } else { Offer::default() },
            timing: timing(claims.role),
            limits: Limits::default(),
            allow_two_voters: false,
            without: Features::NONE,
            executors: is_worker.then(|| factory(policy)),
            record: None,
            tap: None,
        })
    }

    async fn open_api(&mut self, node: &RunningNode) -> Result<(), String> {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Listener::bind(loopback, None, false).await.map_err(|error| error.to_string())?;
        let addr = listener.local_addr().map_err(|error| error.to_string())?;
        let state = ApiState {
            node: node.node(),
            gate: node.api(),
            tokens: Arc::new(Tokens::default()),
            metrics: node.metrics(),
        };
        self.apis.push(tokio::spawn(serve(listener, router(state))));
        self.gates.push(Gate::parse(&format!("http://{addr}"), &Access::default())?);
        Ok(())
    }
}

async fn sees_all(gate: &RunningNode, shape: &Shape) -> bool {
    let me = Identity { tenant: CLUSTER.to_owned(), operator: true };
    match gate.api().call(me, Request::Datacenters).await {
        Ok(Reply::Answer(Answer::Datacenters(seen))) => {
            let whole = |dc: &&DcView| dc.usable && dc.capacity.workers == u32::from(shape.workers);
            seen.iter().filter(whole).count() == usize::from(shape.datacenters)
        }
        _ => false,
    }
}

/// The demo has a runtime of its own, which must not be made on a thread of this one.
async fn start_demo() -> Result<Demo, String> {
    let started = tokio::task::spawn_blocking(Demo::start).await.map_err(|error| error.to_string())?;
    started.map_err(|error| format!("the demo target cannot start: {error}"))
}

/// Cores that a worker offers: a share of the machine's for each, but enough for small jobs; the machine's scheduler
/// divides what there really is.
fn cores(shape: &Shape) -> u16 {
    let machine = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let workers = usize::from(shape.datacenters) * usize::from(shape.workers);
    u16::try_from(machine / workers).unwrap_or(u16::MAX).max(4)
}

/// On loopback a tier elects in a second; everything else keeps its default.
fn timing(role: Role) -> Timing {
    Timing {
        log_tick: Span::from_millis(200),
        leader_silence: Span::from_millis(1_000),
        dc_heartbeat: Span::from_secs(1),
        ..Timing::for_role(role)
    }
}

/// Binds every node's sockets first, so that the roster is known before any of them starts.
fn seats(shape: &Shape) -> Result<Vec<Seat>, String> {
    let mut seats = Vec::new();
    let mut seat = |role, dc, name: String| {
        let bound =
            Bound::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).map_err(|error| error.to_string())?;
        seats.push(Seat { claims: Claims { cluster: CLUSTER.to_owned(), role, dc, name }, bound });
        Ok::<_, String>(())
    };
    for gate in 1..=shape.gates {
        seat(Role::Gate, DcId::NONE, format!("g{gate}"))?;
    }
    for number in 1..=shape.datacenters {
        let dc = DcId::new(&format!("dc-{number}"))
            .map_err(|_| "a datacenter's name is not allowed".to_owned())?;
        for manager in 1..=shape.managers {
            seat(Role::Manager, dc, format!("m{manager}"))?;
        }
        for worker in 1..=shape.workers {
            seat(Role::Worker, dc, format!("w{worker}"))?;
        }
    }
    Ok(seats)
}

fn roster(seats: &[Seat]) -> NamedRoster {
    let member =
        |seat: &Seat| Member { name: seat.claims.name.clone(), address: seat.bound.addr.to_string() };
    let mut roster = NamedRoster::default();
    for seat in seats {
        match seat.claims.role {
            Role::Gate => roster.gates.push(member(seat)),
            Role::Manager => match roster.datacenters.iter_mut().find(|known| known.dc == seat.claims.dc) {
                Some(known) => known.managers.push(member(seat)),
                None => {
                    roster.datacenters.push(NamedDatacenter {
                        dc: seat.claims.dc,
                        region: seat.claims.dc,
                        managers: vec![member(seat)],
                    });
                }
            },
            Role::Worker => {}
        }
    }
    roster
}

/// A gate knows all, a manager the gates and its own datacenter, a worker its own datacenter.
fn known_to(claims: &Claims, roster: &NamedRoster) -> NamedRoster {
    let own = |known: &&NamedDatacenter| claims.role == Role::Gate || known.dc == claims.dc;
    NamedRoster {
        gates: if claims.role == Role::Worker { Vec::new() } else { roster.gates.clone() },
        datacenters: roster.datacenters.iter().filter(own).cloned().collect(),
    }
}

fn issue(authority: &Authority, claims: &Claims, folder: &Path) -> Result<NodeTls, String> {
    let issued = authority.issue(claims).map_err(|error| error.to_string())?;
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok::<_, String>(path)
    };
    let authority = write("authority.pem", &authority.certificate())?;
    let certificate = write("certificate.pem", &issued.certificate)?;
    let key = write("key.pem", &issued.key)?;
    NodeTls::load(&authority, &certificate, &key).map_err(|error| error.to_string())
}
