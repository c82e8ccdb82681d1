//! One small world for either library: members by number, packets and timers in one queue. What a member is, it says
//! itself ([`Member`]); the world knows numbers, times and bytes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;
/// One way, least and most, uniform.
const LATENCY: (u64, u64) = (200_000, 1_000_000);
/// Packets that the socket of a held member keeps, and the time in which one is taken off after a release.
const SOCKET: (usize, u64) = (256, 50_000);

/// What a member wants of the world after a call.
#[derive(Default)]
pub struct Wants<T> {
    /// Packets, encoded, by receiver.
    pub send: Vec<(u32, Box<[u8]>)>,
    /// Timers, by nanoseconds from now.
    pub timers: Vec<(u64, T)>,
    /// Members that it holds dead from now on.
    pub deaths: Vec<u32>,
}

/// One library's member.
pub trait Member: Sized {
    /// What it is woken with.
    type Timer;
    /// Its name in the tables.
    const NAME: &'static str;
    /// Member `me` of a group of `members`.
    fn new(me: u32, members: u32, seed: u64) -> Self;
    /// It starts and knows everybody, none of which it need tell.
    fn start_knowing(&mut self, now: u64, want: &mut Wants<Self::Timer>);
    /// It starts and knows that one only.
    fn start_at(&mut self, now: u64, seed: u32, want: &mut Wants<Self::Timer>);
    /// A packet came.
    fn receive(&mut self, now: u64, from: u32, packet: &[u8], want: &mut Wants<Self::Timer>);
    /// A timer's time has come; tells whether it still meant anything.
    fn wake(&mut self, now: u64, timer: Self::Timer, want: &mut Wants<Self::Timer>) -> bool;
    /// How many others it holds alive or suspected.
    fn listed(&self) -> usize;
    /// A question of `from` that carries these members as alive: at `life`, the first of which is 0.
    fn question(&self, from: u32, about: &[u32], life: u16) -> Vec<Box<[u8]>>;
}

enum Event<T> {
    Packet { from: u32, to: u32, bytes: Box<[u8]> },
    Timer(u32, T),
}

/// A group.
pub struct World<M: Member> {
    pub members: Vec<M>,
    queue: BinaryHeap<Reverse<(u64, u64, u32)>>,
    slots: Vec<Option<Event<M::Timer>>>,
    free: Vec<u32>,
    drawn: u64,
    seq: u64,
    want: Wants<M::Timer>,
    pub now: u64,
    pub down: Vec<bool>,
    held: Vec<Option<(VecDeque<(u32, Box<[u8]>)>, Vec<(u32, Box<[u8]>)>)>>,
    /// Whether a link from the first to the second carries nothing.
    pub cut: fn(u32, u32) -> bool,
    /// (when, observer, subject)
    pub deaths: Vec<(u64, u32, u32)>,
    pub steps: u64,
    pub packets: u64,
    pub bytes: u64,
}

impl<M: Member> World<M> {
    /// A group of members that have not started.
    pub fn new(members: u32, seed: u64) -> Self {
        Self {
            members: (0..members).map(|n| M::new(n, members, mix(seed ^ mix(u64::from(n) + 1)))).collect(),
            queue: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            drawn: mix(seed),
            seq: 0,
            want: Wants { send: Vec::new(), timers: Vec::new(), deaths: Vec::new() },
            now: 0,
            down: vec![false; members as usize],
            held: (0..members).map(|_| None).collect(),
            cut: |_, _| false,
            deaths: Vec::new(),
            steps: 0,
            packets: 0,
            bytes: 0,
        }
    }

    /// A group in which everybody knows everybody, some time after.
    pub fn acquainted(members: u32, seed: u64, settle: u64) -> Self {
        let mut world = Self::new(members, seed);
        for n in 0..members {
            let now = world.now;
            world.members[n as usize].start_knowing(now, &mut world.want);
            world.perform(n);
            // Within a second, so that members are not in step.
            world.run_for(SECOND / u64::from(members));
        }
        world.run_for(settle);
        world.deaths.clear();
        (world.steps, world.packets, world.bytes) = (0, 0, 0);
        world
    }

    /// Starts a member that knows one other.
    pub fn start_at(&mut self, n: u32, seed: u32) {
        self.members[n as usize].start_at(self.now, seed, &mut self.want);
        self.perform(n);
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.drawn = self.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        ((u128::from(mix(self.drawn)) * u128::from(bound)) >> 64) as u64
    }

    /// Holds the network of these members: what they send waits, what they get waits; the rest of them runs.
    pub fn hold(&mut self, members: &[u32]) {
        members.iter().for_each(|n| self.held[*n as usize] = Some(Default::default()));
    }

    /// Lets it go on.
    pub fn release(&mut self, members: &[u32]) {
        for n in members {
            let Some((inward, outward)) = self.held[*n as usize].take() else { continue };
            outward.into_iter().for_each(|(to, bytes)| self.transmit(*n, to, bytes));
            for (place, (from, bytes)) in inward.into_iter().enumerate() {
                let at = self.now + (place as u64 + 1) * SOCKET.1;
                self.push(at, Event::Packet { from, to: *n, bytes });
            }
        }
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: u64) {
        let end = self.now + span;
        while let Some(Reverse((at, _, slot))) =
            self.queue.peek().copied().filter(|Reverse(next)| next.0 <= end)
        {
            self.queue.pop();
            self.now = at;
            self.free.push(slot);
            match self.slots[slot as usize].take() {
                Some(Event::Packet { from, to, bytes }) => self.arrive(from, to, bytes),
                Some(Event::Timer(n, timer)) if !self.down[n as usize] => {
                    self.steps += u64::from(self.members[n as usize].wake(at, timer, &mut self.want));
                    self.perform(n);
                }
                _ => {}
            }
        }
        self.now = end;
    }

    /// Whether everybody who is up lists as many others as are up.
    pub fn is_full(&self) -> bool {
        let up = self.down.iter().filter(|down| !**down).count();
        let mut running = self.members.iter().zip(&self.down).filter(|(_, down)| !**down);
        running.all(|(member, _)| member.listed() == up - 1)
    }

    fn arrive(&mut self, from: u32, to: u32, bytes: Box<[u8]>) {
        if self.down[to as usize] {
            return;
        }
        if let Some((inward, _)) = &mut self.held[to as usize] {
            if inward.len() < SOCKET.0 {
                inward.push_back((from, bytes));
            }
            return;
        }
        self.steps += 1;
        self.members[to as usize].receive(self.now, from, &bytes, &mut self.want);
        self.perform(to);
    }

    fn perform(&mut self, n: u32) {
        let mut want = std::mem::replace(
            &mut self.want,
            Wants { send: Vec::new(), timers: Vec::new(), deaths: Vec::new() },
        );
        for (to, bytes) in want.send.drain(..) {
            match &mut self.held[n as usize] {
                Some((_, outward)) => outward.push((to, bytes)),
                None => self.transmit(n, to, bytes),
            }
        }
        for (wait, timer) in want.timers.drain(..) {
            self.push(self.now + wait, Event::Timer(n, timer));
        }
        let now = self.now;
        self.deaths.extend(want.deaths.drain(..).map(|subject| (now, n, subject)));
        self.want = want;
    }

    fn transmit(&mut self, from: u32, to: u32, bytes: Box<[u8]>) {
        self.packets += 1;
        self.bytes += bytes.len() as u64;
        let at = self.now + LATENCY.0 + self.below(LATENCY.1 - LATENCY.0);
        if !(self.cut)(from, to) {
            self.push(at, Event::Packet { from, to, bytes });
        }
    }

    fn push(&mut self, at: u64, event: Event<M::Timer>) {
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(slot as usize) {
            Some(place) => *place = Some(event),
            None => self.slots.push(Some(event)),
        }
        self.seq += 1;
        self.queue.push(Reverse((at, self.seq, slot)));
    }
}

/// SplitMix64's finish.
pub fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
