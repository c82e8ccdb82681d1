//! The ping workload on madsim: N nodes, each pings its neighbour in the ring every 10 ms, 1 ms one way; the
//! neighbour answers at once. An event is a timer that fired or a message that was received.
//!
//! Arguments: nodes, simulated seconds. Needs `RUSTFLAGS="--cfg madsim"`.

#[path = "../../../cpu.rs"]
mod cpu;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use madsim::net::Endpoint;
use madsim::runtime::{Handle, Runtime};
use madsim::{Config, time};

/// What all nodes count.
#[derive(Default)]
struct Counts {
    events: AtomicU64,
    answers: AtomicU64,
    round_trips_ns: AtomicU64,
}

fn address(node: usize) -> SocketAddr {
    format!("10.0.{}.{}:9000", node / 250, node % 250 + 1).parse().expect("an address")
}

async fn node(me: usize, nodes: usize, counts: Arc<Counts>) {
    let endpoint = Arc::new(Endpoint::bind(address(me)).await.expect("a free port"));
    let (began, sent) = (time::Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut ticks = time::interval(Duration::from_millis(10));
    madsim::task::spawn(receive(endpoint.clone(), began, sent.clone(), counts.clone()));
    loop {
        ticks.tick().await;
        counts.events.fetch_add(1, Relaxed);
        sent.store(began.elapsed().as_nanos() as u64, Relaxed);
        endpoint.send_to(address((me + 1) % nodes), 1, &[0; 16]).await.expect("it is sent");
    }
}

async fn receive(endpoint: Arc<Endpoint>, began: time::Instant, sent: Arc<AtomicU64>, counts: Arc<Counts>) {
    let mut bytes = [0; 32];
    loop {
        let (_, from) = endpoint.recv_from(1, &mut bytes).await.expect("it is received");
        counts.events.fetch_add(1, Relaxed);
        if bytes[0] == 0 {
            bytes[0] = 1;
            endpoint.send_to(from, 1, &bytes[..16]).await.expect("it is sent");
        } else {
            counts.answers.fetch_add(1, Relaxed);
            counts.round_trips_ns.fetch_add(began.elapsed().as_nanos() as u64 - sent.load(Relaxed), Relaxed);
        }
    }
}

async fn world(nodes: usize, seconds: u64, counts: Arc<Counts>) {
    let handle = Handle::current();
    for me in 0..nodes {
        let host = handle.create_node().name(format!("n{me}")).ip(address(me).ip()).build();
        host.spawn(node(me, nodes, counts.clone()));
    }
    time::sleep(Duration::from_secs(seconds)).await;
}

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).map(|text| text.parse().expect("a number")).collect();
    let (nodes, seconds) = (numbers[0] as usize, numbers[1]);
    let mut config = Config::default();
    config.net.send_latency = Duration::from_millis(1)..Duration::from_nanos(1_000_001);
    let counts = Arc::new(Counts::default());
    let runtime = Runtime::with_seed_and_config(42, config);
    let (cpu, ()) = cpu::seconds(|| runtime.block_on(world(nodes, seconds, counts.clone())));
    let (events, answers) = (counts.events.load(Relaxed), counts.answers.load(Relaxed));
    let round_trip = counts.round_trips_ns.load(Relaxed) / answers.max(1) / 1_000;
    println!("madsim {nodes} {events} {cpu:.3} {:.0} {round_trip}", events as f64 / cpu);
}
