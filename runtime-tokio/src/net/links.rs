//! A node's ordered connections: exactly one for each peer, dialled again as long as the node lives.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_core::Event;
use tidegate_core::id::{NodeId, Role};
use tidegate_core::wire::Hello;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedMutexGuard, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::greeting::{self, Greeted, NoGreeting};
use super::identity::NodeTls;
use super::session;
use crate::driver::{InboxSender, Metrics};

/// First wait before dialling again; doubles up to [`BACKOFF_CAP`]. The wait itself is random up to this.
const BACKOFF_BASE: Duration = Duration::from_millis(100);
const BACKOFF_CAP: Duration = Duration::from_secs(5);
/// A connection that lived this long proves the peer well: dialling starts over at [`BACKOFF_BASE`].
const PROVEN: Duration = Duration::from_secs(5);
/// Most connections of a node, greetings included; more are closed at once.
const MAX_CONNECTIONS: usize = 10_000;
/// How long a leaving node waits for what it still has to say.
const FAREWELL: Duration = Duration::from_secs(2);

/// A node to dial.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its id: another node at the address is refused.
    pub node: NodeId,
    /// For messages to people.
    pub name: String,
    /// `host:port`, resolved anew at each dialling.
    pub address: String,
}

/// What a node's connections are made of.
#[derive(Clone, Debug)]
pub struct LinksConfig {
    /// How this node greets.
    pub me: Hello,
    /// Its certificate.
    pub tls: NodeTls,
    /// Whom it dials.
    pub targets: Vec<Target>,
    /// The gates and managers it knows: others of these roles are denied. Workers need only their certificate.
    pub known: HashSet<NodeId>,
}

#[derive(Debug)]
struct Shared {
    config: LinksConfig,
    inbox: InboxSender,
    metrics: Metrics,
    seats: Seats,
    stop: watch::Receiver<bool>,
}

/// The running tasks. Dropping it cuts every connection.
#[derive(Debug)]
pub struct Links {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Links {
    /// Begins to accept and to dial.
    pub fn start(
        listener: std::net::TcpListener,
        config: LinksConfig,
        inbox: InboxSender,
        metrics: Metrics,
    ) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        let (stop, stopped) = watch::channel(false);
        let targets = config.targets.clone();
        let shared = Arc::new(Shared { config, inbox, metrics, seats: Seats::default(), stop: stopped });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept_all(Arc::clone(&shared), listener));
        for target in targets {
            tasks.spawn(keep_dialled(Arc::clone(&shared), target));
        }
        Ok(Self { tasks, stop })
    }

    /// Ends every connection once what was queued is sent, within a bound. The node must have dropped its queues.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        let farewell = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::debug!("some peers did not take the last messages");
        }
    }
}

/// Resolves when the node stops.
async fn stopped(shared: &Shared) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = shared.stop.clone().wait_for(|stop| *stop).await;
}

async fn accept_all(shared: Arc<Shared>, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            () = stopped(&shared) => break,
        };
        match (accepted, Arc::clone(&room).try_acquire_owned()) {
            (Ok((tcp, _)), Ok(place)) => {
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    accept_one(&shared, tcp).await;
                    drop(place);
                });
            }
            (Ok(_), Err(_)) => shared.metrics.refuse_handshake("too_many"),
            (Err(error), _) => {
                // Most likely the process has no file descriptors left: wait for some to be closed.
                tracing::error!("cannot accept a connection: {error}");
                tokio::time::sleep(BACKOFF_BASE).await;
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn accept_one(shared: &Shared, tcp: TcpStream) {
    let config = &shared.config;
    let from = tcp.peer_addr().map_or_else(|_| "unknown".into(), |addr| addr.to_string());
    let is_known = |peer: &Hello| peer.role == Role::Worker || config.known.contains(&peer.node);
    let mut greeted = match greeting::accept(&config.me, &config.tls, tcp, is_known).await {
        Ok(greeted) => greeted,
        Err(why) => {
            failed(shared, &why);
            tracing::warn!(%from, "a connection was not taken: {why}");
            return;
        }
    };
    // The peer dials again only when its last connection is gone: whatever is left of that one here ends first, so
    // that the node never hears of two.
    let Some(seat) = shared.seats.take(greeted.peer.node).await else {
        return;
    };
    if let Err(error) = greeting::welcome(&config.me, &mut greeted.stream).await {
        failed(shared, &NoGreeting::Tls(error));
        return;
    }
    serve(shared, greeted, &seat).await;
}

async fn serve(shared: &Shared, greeted: Greeted, seat: &Seat) {
    session::serve(greeted, shared.config.me.role, &shared.inbox, &shared.metrics, seat.superseded()).await;
}

/// Counts a connection that did not come up; the node hears of garbage, and of whom it refuses.
fn failed(shared: &Shared, why: &NoGreeting) {
    shared.metrics.refuse_handshake(why.label());
    // Bounded by the connections: a stranger gets one such event for each of them.
    match why {
        NoGreeting::Garbage(peer, why) => shared.inbox.push(Event::Malformed { peer: *peer, why: *why }),
        NoGreeting::Denied(peer, fault) => {
            shared.inbox.push(Event::GreetingRefused { peer: *peer, code: fault.code });
        }
        _ => {}
    }
}

/// Dials a peer for as long as the node lives.
async fn keep_dialled(shared: Arc<Shared>, target: Target) {
    let mut backoff = BACKOFF_BASE;
    let mut last_trouble = String::new();
    loop {
        let attempt = async {
            let greeted = greeting::dial(&shared.config.me, &shared.config.tls, &target).await?;
            let seat = shared.seats.take(target.node).await;
            Ok::<_, NoGreeting>((greeted, seat))
        };
        let mut lived = Duration::ZERO;
        tokio::select! {
            attempt = attempt => match attempt {
                Ok((greeted, Some(seat))) => {
                    last_trouble.clear();
                    let begun = Instant::now();
                    serve(&shared, greeted, &seat).await;
                    lived = begun.elapsed();
                }
                Ok((_, None)) => {}
                Err(why) => {
                    failed(&shared, &why);
                    report(&target, &why.to_string(), &mut last_trouble);
                }
            },
            () = stopped(&shared) => return,
        }
        backoff = if lived >= PROVEN { BACKOFF_BASE } else { (backoff * 2).min(BACKOFF_CAP) };
        tokio::select! {
            () = tokio::time::sleep(up_to(backoff)) => {}
            () = stopped(&shared) => return,
        }
    }
}

/// Logs trouble with a peer once, not at each dialling.
fn report(target: &Target, why: &str, last: &mut String) {
    if last != why {
        tracing::warn!(peer = %target.name, address = %target.address, "{why}; dialling on");
        last.clear();
        last.push_str(why);
    }
}

/// A random part of a wait, so that nodes that lost the same peer do not return together.
fn up_to(wait: Duration) -> Duration {
    let share = getrandom::u32().unwrap_or(u32::MAX);
    wait.mul_f64(f64::from(share) / f64::from(u32::MAX))
}

/// One seat for each peer: whoever takes it sends the one before away and waits until that one has left.
#[derive(Debug, Default)]
struct Seats {
    places: Arc<Mutex<HashMap<NodeId, Arc<Place>>>>,
}

#[derive(Debug)]
struct Place {
    turn: Arc<tokio::sync::Mutex<()>>,
    newest: watch::Sender<u64>,
}

/// A taken seat.
#[derive(Debug)]
struct Seat {
    node: NodeId,
    mine: u64,
    place: Arc<Place>,
    places: Arc<Mutex<HashMap<NodeId, Arc<Place>>>>,
    _turn: OwnedMutexGuard<()>,
}

impl Seats {
    /// Takes the seat of a peer; `None` where a later connection has taken it meanwhile.
    async fn take(&self, node: NodeId) -> Option<Seat> {
        let mut mine = 0;
        let place = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Place { turn: Arc::default(), newest: watch::Sender::new(0) });
            let place = Arc::clone(places.entry(node).or_insert_with(new));
            // Under the lock: a seat that is left now must see that somebody waits for it.
            place.newest.send_modify(|newest| {
                *newest += 1;
                mine = *newest;
            });
            place
        };
        let turn = Arc::clone(&place.turn).lock_owned().await;
        let seat = Seat { node, mine, place, places: Arc::clone(&self.places), _turn: turn };
        let is_newest = *seat.place.newest.borrow() == mine;
        is_newest.then_some(seat)
    }
}

impl Seat {
    /// Resolves when a later connection wants the seat.
    fn superseded(&self) -> impl Future<Output = ()> + use<> {
        let mut newest = self.place.newest.subscribe();
        let mine = self.mine;
        async move {
            // The sender lives as long as the seat.
            let _ = newest.wait_for(|newest| *newest > mine).await;
        }
    }
}

impl Drop for Seat {
    /// Forgets the peer, unless another connection waits for the seat.
    fn drop(&mut self) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if *self.place.newest.borrow() == self.mine {
            places.remove(&self.node);
        }
    }
}
