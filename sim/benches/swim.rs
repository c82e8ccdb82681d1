//! The membership machine alone, one core (DESIGN 11): steps in a group at rest, what an update costs in small and in
//! large groups, and how much memory a member takes.

#[path = "../../benches/cpu.rs"]
mod cpu;

use tidegate_core::config::Peer;
use tidegate_core::id::{BootNo, NodeId, Role};
use tidegate_core::swim::{Addr, Body, Claim, FACTS_MAX, Fact, Incarnation, Packet, Rules, Swim, SwimConfig};
use tidegate_core::{Duration, Effects, Instant, Now};
use tidegate_sim::lifeguard::world::{Anomaly, SECOND, World};

/// Simulated seconds of a measurement of steps, times the members: long enough for the clock of the processor, which on
/// some systems advances with every tick of 4 ms only.
const MEASURED: u64 = 60_000;
/// How many of them make a row, of which the middle one counts: a machine that does something else as well disturbs some.
const SLICES: usize = 15;
/// Until what the start had to tell is told: 1,000 members tell 1,000 facts 20 times, 14 in a packet, some three
/// packets a second.
const SETTLED: u64 = 1_200 * SECOND;
/// Packets to measure for each row.
const PACKETS: usize = 40_000;

fn main() {
    for members in [128, 1_000] {
        steps(members);
    }
    println!("\na packet of {FACTS_MAX} facts: ns for each fact, and bytes for each member");
    println!("{:>8} {:>10} {:>10} {:>8} {:>11}", "members", "known", "news", "bytes", "of 48 bytes");
    for members in [128, 1_000, 10_000] {
        updates(members);
    }
}

fn rules() -> Rules {
    Rules::ours(Duration::from_secs(1), Duration::from_millis(500))
}

/// A whole group, with the queue that carries its packets: while everybody still tells of everybody, which fills every
/// packet, and when all of that was told. The small group has told all before the clock has advanced.
fn steps(members: u32) {
    let mut world = World::crowded(rules(), members, 1, Anomaly::Loops);
    if members >= 1_000 {
        row(&mut world, "full of rumours", 1);
    }
    world.run_for(SETTLED);
    row(&mut world, "at rest", SLICES);
}

fn row(world: &mut World, state: &str, slices: usize) {
    let members = world.members();
    let mut rates: Vec<(f64, f64)> = (0..slices)
        .map(|_| {
            let before = (world.steps, world.messages);
            let (seconds, ()) = cpu::seconds(|| world.run_for(MEASURED * SECOND / u64::from(members)));
            let steps = (world.steps - before.0) as f64;
            (steps / seconds, (world.messages - before.1) as f64 / steps)
        })
        .collect();
    rates.sort_by(|one, other| one.0.total_cmp(&other.0));
    let ((steps_s, messages), (most, _)) = (rates[slices / 2], rates[slices - 1]);
    println!(
        "steps of {members} members {state}: {steps_s:.0}/s (at most {most:.0}), {:.2}x of 3000000/s, {messages:.2} \
         packets a step",
        steps_s / 3e6
    );
}

fn id(n: u32) -> NodeId {
    // Spread over the ids, so that neighbours by number are none in the table.
    NodeId::of_halves(u64::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes(), [0xcd; 8])
}

fn addr(n: u32) -> Addr {
    let mut ip = [0; 16];
    ip[10..12].copy_from_slice(&[0xff, 0xff]);
    ip[12..].copy_from_slice(&n.to_be_bytes());
    Addr { ip, port: 7_946 }
}

fn packet(from: u32, body: Body, facts: Vec<Fact>) -> Packet {
    let incarnation = Incarnation::of_boot(BootNo(1));
    Packet { from: id(from), incarnation, role: Role::Gate, addr: addr(from), body, facts, digest: None }
}

/// One machine that has heard all others.
fn machine(members: u32) -> Swim {
    let peer = |n| Peer { node: id(n), name: format!("n{n}"), addr: addr(n) };
    let config = SwimConfig {
        node: id(0),
        addr: addr(0),
        role: Role::Gate,
        boot: BootNo(1),
        rules: rules(),
        seeds: vec![peer(1)],
    };
    let mut swim = Swim::new(config, [7; 32]);
    let mut out = Effects::new();
    for from in 1..members {
        swim.receive(now(0), addr(from), packet(from, Body::Rumours, Vec::new()), &mut out);
        out.clear();
    }
    swim.changes();
    // Long enough for what it has to tell to be told.
    for millis in (0..300_000).step_by(200) {
        swim.wake(now(millis), &mut out);
        out.clear();
    }
    swim
}

fn now(millis: u64) -> Now {
    Now { mono: Instant::ZERO + Duration::from_millis(millis), ..Now::default() }
}

/// Questions that carry a full load of facts: such as are known already, and restarts that are news.
fn updates(members: u32) {
    let mut swim = machine(members);
    let cost = |swim: &mut Swim, life: u32| {
        let packets: Vec<Packet> = (0..PACKETS as u32)
            .map(|n| {
                let from = 1 + n % (members - 1);
                let target = id(0);
                let facts = (0..FACTS_MAX as u32).map(|k| {
                    let node = 1 + (n * FACTS_MAX as u32 + k) % (members - 1);
                    // The life of a member rises with each turn through the group.
                    let turn = (n * FACTS_MAX as u32 + k) / (members - 1);
                    let incarnation = match life {
                        0 => Incarnation::of_boot(BootNo(1)),
                        life => Incarnation::of_boot(BootNo(life + turn)),
                    };
                    Fact {
                        node: id(node),
                        incarnation,
                        claim: Claim::Alive,
                        role: Role::Gate,
                        addr: addr(node),
                    }
                });
                packet(from, Body::Ping { seq: n, target }, facts.collect())
            })
            .collect();
        let mut out = Effects::new();
        let (seconds, ()) = cpu::seconds(|| {
            for packet in packets {
                let from = packet.addr;
                swim.receive(now(300_000), from, packet, &mut out);
                out.clear();
                swim.changes();
            }
        });
        seconds * 1e9 / (PACKETS * FACTS_MAX) as f64
    };
    let known = cost(&mut swim, 0);
    let news = cost(&mut swim, 2);
    let bytes = swim.member_bytes() as f64 / f64::from(members - 1);
    println!("{members:>8} {known:>10.1} {news:>10.1} {bytes:>8.1} {:>10.2}x", bytes / 48.0);
}
