//! The ping workload on turmoil: N nodes, each pings its neighbour in the ring every 10 ms, 1 ms one way; the
//! neighbour answers at once. An event is a timer that fired or a message that was received.
//!
//! Arguments: nodes, simulated seconds. The world ticks every millisecond, as the latency asks for.

#[path = "../../../cpu.rs"]
mod cpu;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;
use turmoil::Builder;
use turmoil::net::UdpSocket;

/// What all nodes count.
#[derive(Default)]
struct Counts {
    events: Cell<u64>,
    answers: Cell<u64>,
    round_trips_ns: Cell<u64>,
}

fn add(cell: &Cell<u64>, more: u64) {
    cell.set(cell.get() + more);
}

async fn node(me: usize, nodes: usize, counts: Rc<Counts>) -> turmoil::Result {
    let socket = UdpSocket::bind((IpAddr::from(Ipv4Addr::UNSPECIFIED), 9000)).await?;
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let (mut bytes, mut sent) = ([0; 32], Instant::now());
    let next = format!("n{}", (me + 1) % nodes);
    loop {
        tokio::select! {
            biased;
            received = socket.recv_from(&mut bytes) => {
                let (_, from) = received?;
                add(&counts.events, 1);
                if bytes[0] == 0 {
                    bytes[0] = 1;
                    socket.send_to(&bytes[..16], from).await?;
                } else {
                    add(&counts.answers, 1);
                    add(&counts.round_trips_ns, sent.elapsed().as_nanos() as u64);
                }
            }
            _ = ticks.tick() => {
                add(&counts.events, 1);
                sent = Instant::now();
                socket.send_to(&[0; 16], (next.as_str(), 9000)).await?;
            }
        }
    }
}

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).map(|text| text.parse().expect("a number")).collect();
    let (nodes, seconds) = (numbers[0] as usize, numbers[1]);
    let latency = Duration::from_millis(1);
    let mut world = Builder::new()
        .simulation_duration(Duration::from_secs(seconds + 1))
        .rng_seed(42)
        .tick_duration(latency)
        .min_message_latency(latency)
        .max_message_latency(latency)
        .udp_capacity(1 << 16)
        .build();
    let counts = Rc::new(Counts::default());
    for me in 0..nodes {
        let counts = counts.clone();
        world.host(format!("n{me}"), move || node(me, nodes, counts.clone()));
    }
    world.client("end", async move {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(())
    });
    let (cpu, ran) = cpu::seconds(|| world.run());
    ran.expect("the world runs to its end");
    let (events, answers) = (counts.events.get(), counts.answers.get());
    let round_trip = counts.round_trips_ns.get() / answers.max(1) / 1_000;
    println!("turmoil {nodes} {events} {cpu:.3} {:.0} {round_trip}", events as f64 / cpu);
}
