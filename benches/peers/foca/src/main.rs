//! Our membership machine beside foca 2.0.0, in one world and one run: both get and send packets as bytes, both keep the
//! settings that they come with. Prints a table for each question; a line for each library.

#[path = "../../../cpu.rs"]
mod cpu;
mod heap;
mod ours;
mod theirs;
mod world;

use ours::Ours;
use theirs::Theirs;
use world::{Member, SECOND, Wants, World};

/// Longest wait for full views, in half seconds.
const PATIENCE: u64 = 1_200;
/// Packets for the cost of an update.
const QUESTIONS: u32 = 5_000;
/// Updates in a packet.
const UPDATES: u32 = 120;

fn main() {
    // Only these questions, if any are named.
    let named: Vec<String> = std::env::args().skip(1).collect();
    let asked = |name: &str, heading: &str, row: String| {
        let asked = named.is_empty() || named.iter().any(|it| it == name);
        if asked {
            println!("\n{heading}\n{:<10} {:>8} {row}", name, "members");
        }
        asked
    };
    let head = |names: &[(&str, usize)]| -> String {
        names.iter().map(|(name, width)| format!("{name:>width$} ")).collect()
    };
    let row = head(&[("steps/s", 12), ("ns", 10), ("packets/node/s", 14), ("B/node/s", 10)]);
    if asked("rest", "one core, encoding included: steps, and ns that a member takes of a second", row) {
        both(rest::<Ours>, rest::<Theirs>, &[(128, 300), (1_000, 1_200)]);
    }
    let row = head(&[("packets", 8), ("bytes", 10), ("known", 10), ("news", 10)]);
    if asked("updates", "120 updates, in as few packets as carry them: ns until taken in and answered", row) {
        both(updates::<Ours>, updates::<Theirs>, &[128, 1_000, 10_000]);
    }
    if asked(
        "memory",
        "heap of a settled group for each pair of members, all included",
        head(&[("bytes", 10)]),
    ) {
        both(memory::<Ours>, memory::<Theirs>, &[(128, 300), (1_000, 1_200)]);
    }
    let row = head(&[("first median", 12), ("first max", 10), ("all max", 10), ("missed", 8)]);
    if asked("crash", "one crash, ten runs: seconds", row) {
        both(crash::<Ours>, crash::<Theirs>, &[128]);
    }
    let row = head(&[("seconds", 8), ("MB", 8)]);
    if asked("join", "through one seed within a second, until all views are full", row) {
        both(join::<Ours>, join::<Theirs>, &[128, 1_000]);
    }
    if asked("heal", "halves cut for 60 s: seconds until all views are full", head(&[("seconds", 8)])) {
        both(heal::<Ours>, heal::<Theirs>, &[128]);
    }
    let heading =
        "false deaths: one reaches one other only for 300 s; the network of 16 is held 8 s of 9, for 108 s";
    if asked("lies", heading, head(&[("half-connected", 16), ("held", 10), ("held, at healthy", 16)])) {
        both(lies::<Ours>, lies::<Theirs>, &[128]);
    }
}

fn both<T: Copy>(ours: fn(T), theirs: fn(T), of: &[T]) {
    for one in of {
        ours(*one);
        theirs(*one);
    }
}

fn rest<M: Member>((members, settle): (u32, u64)) {
    let mut world = World::<M>::acquainted(members, 1, settle * SECOND);
    let (seconds, ()) = cpu::seconds(|| world.run_for(60 * SECOND));
    let node_s = f64::from(members) * 60.0;
    println!(
        "{:<10} {members:>8} {:>12.0} {:>10.0} {:>14.2} {:>10.1}",
        M::NAME,
        world.steps as f64 / seconds,
        seconds * 1e9 / node_s,
        world.packets as f64 / node_s,
        world.bytes as f64 / node_s
    );
}

fn updates<M: Member>(members: u32) {
    let mut member = M::new(0, members, 1);
    let mut want = Wants { send: Vec::new(), timers: Vec::new(), deaths: Vec::new() };
    member.start_knowing(0, &mut want);
    let mut cost = |first_life: u16, per_life: u32| {
        let packets: Vec<(u32, Vec<Box<[u8]>>)> = (0..QUESTIONS)
            .map(|n| {
                let place = |k: u32| 1 + (n * UPDATES + k) % (members - 1);
                let about: Vec<u32> = (0..UPDATES.min(members - 1)).map(place).collect();
                // News: each turn through the group is a life later. The asker is not told of, and says its own.
                let turn = (n * UPDATES / (members - 1)) * per_life;
                (place(0), member.question(place(0), &about, first_life + turn as u16))
            })
            .collect();
        let (count, bytes) = (packets[0].1.len(), packets[0].1.iter().map(|it| it.len()).sum::<usize>());
        let (seconds, ()) = cpu::seconds(|| {
            for (from, parts) in &packets {
                for part in parts {
                    member.receive(SECOND, *from, part, &mut want);
                }
                (want.send.clear(), want.timers.clear(), want.deaths.clear());
            }
        });
        (count, bytes, seconds * 1e9 / f64::from(QUESTIONS))
    };
    let (count, bytes, known) = cost(0, 0);
    let (.., news) = cost(1, 1);
    println!("{:<10} {members:>8} {count:>8} {bytes:>10} {known:>10.0} {news:>10.0}", M::NAME);
}

fn memory<M: Member>((members, settle): (u32, u64)) {
    let before = heap::live();
    let world = World::<M>::acquainted(members, 1, settle * SECOND);
    let pairs = f64::from(members) * f64::from(members - 1);
    println!("{:<10} {members:>8} {:>10.1}", M::NAME, (heap::live() - before) as f64 / pairs);
    drop(world);
}

fn seconds(span: u64) -> f64 {
    span as f64 / SECOND as f64
}

fn crash<M: Member>(members: u32) {
    let (mut firsts, mut lasts, mut missed) = (Vec::new(), Vec::new(), 0);
    for seed in 0..10 {
        let mut world = World::<M>::acquainted(members, 100 + seed, 60 * SECOND);
        let wait = world.below(5 * SECOND);
        world.run_for(wait);
        let (begin, victim) = (world.now, world.below(u64::from(members)) as u32);
        world.down[victim as usize] = true;
        world.run_for(60 * SECOND);
        let mut known: Vec<(u32, u64)> =
            world.deaths.iter().filter(|it| it.2 == victim).map(|it| (it.1, it.0)).collect();
        known.sort_unstable();
        known.dedup_by_key(|it| it.0);
        missed += members as usize - 1 - known.len();
        firsts.extend(known.iter().map(|it| it.1).min().map(|at| seconds(at - begin)));
        lasts.extend(known.iter().map(|it| it.1).max().map(|at| seconds(at - begin)));
    }
    firsts.sort_by(f64::total_cmp);
    let most = |all: &[f64]| all.iter().copied().fold(f64::NAN, f64::max);
    let (first, last) = (most(&firsts), most(&lasts));
    let median = firsts.get(firsts.len() / 2).copied().unwrap_or(f64::NAN);
    println!("{:<10} {members:>8} {median:>12.2} {first:>10.2} {last:>10.2} {missed:>8}", M::NAME);
}

/// Half seconds until all views are full; none if they never are.
fn until_full<M: Member>(world: &mut World<M>) -> f64 {
    let steps = (1..=PATIENCE).find(|_| {
        world.run_for(SECOND / 2);
        world.is_full()
    });
    steps.map_or(f64::NAN, |steps| steps as f64 / 2.0)
}

fn join<M: Member>(members: u32) {
    let mut world = World::<M>::new(members, 1);
    world.start_at(0, 0);
    for n in 1..members {
        world.run_for(SECOND / u64::from(members));
        world.start_at(n, 0);
    }
    let took = 1.0 + until_full(&mut world);
    println!("{:<10} {members:>8} {took:>8.1} {:>8.1}", M::NAME, world.bytes as f64 / 1e6);
}

fn heal<M: Member>(members: u32) {
    let mut world = World::<M>::acquainted(members, 1, 60 * SECOND);
    world.cut = |from, to| from % 2 != to % 2;
    world.run_for(60 * SECOND);
    world.cut = |_, _| false;
    println!("{:<10} {members:>8} {:>8.1}", M::NAME, until_full(&mut world));
}

fn lies<M: Member>(members: u32) {
    let mut world = World::<M>::acquainted(members, 1, 60 * SECOND);
    world.cut = |from, to| from == 0 && to > 1 || to == 0 && from > 1;
    world.run_for(300 * SECOND);
    let half = world.deaths.iter().filter(|it| it.2 != 0).count();
    let mut world = World::<M>::acquainted(members, 2, 60 * SECOND);
    let held: Vec<u32> = (0..16).collect();
    for _ in 0..12 {
        world.hold(&held);
        world.run_for(8 * SECOND);
        world.release(&held);
        world.run_for(SECOND);
    }
    let wrong = world.deaths.iter().filter(|it| it.2 >= 16);
    let at_healthy = wrong.clone().filter(|it| it.1 >= 16).count();
    println!("{:<10} {members:>8} {half:>16} {:>10} {at_healthy:>16}", M::NAME, wrong.count());
}
