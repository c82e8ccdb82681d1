//! The world that the bytes rule: seats, what is under way between them, and one clock.

use tidegate_core::api::{Identity, Request};
use tidegate_core::config::{Datacenter, Limits, NodeConfig, Offer, Peer, Roster, Timing};
use tidegate_core::id::{CallId, DcId, JobId, NodeId, Role, WorkflowIx};
use tidegate_core::jobs::{
    ExecEvent, ExecutorKind, JobSpec, Load, OnWorkerLoss, Outcome, Placement, Totals, Window, WorkflowSpec,
};
use tidegate_core::swim::{Addr, Packet};
use tidegate_core::wire::{
    self, HEADER_LEN, Malformed, Message, decode_frame, encode_frame, may_connect, may_send,
};
use tidegate_core::{Duration, Effect, Event};

use super::seat::Seat;
use crate::cbor::Known;
use crate::input::Input;
use crate::samples;

/// Most messages under way; the oldest get lost.
const FLIGHT_MAX: usize = 256;
const MS: u64 = 1_000_000;

/// Kinds of acts.
pub const OPS: u8 = 24;
/// Everything works for so many twentieths of a second.
pub const PUMP: u8 = 0;
/// A client calls.
const CALL: u8 = 1;
/// A client submits the plainest job: every choice of the call and its job is the first.
pub const SUBMIT: [u8; 9] = [CALL, 0, 0, 0, 0, 0, 0, 0, 0];

#[derive(Clone)]
enum Said {
    Message(Box<Message>),
    Packet(Box<Packet>),
}

#[derive(Clone)]
struct Flight {
    from: usize,
    to: usize,
    said: Said,
}

pub struct World {
    seats: Vec<Seat>,
    time: u64,
    flight: Vec<Flight>,
    known: Known,
    bodies: Vec<(u16, Vec<u8>)>,
    packet: Vec<u8>,
    calls: u64,
}

impl World {
    /// A cluster of the shape that the first byte says, begun and connected.
    pub fn new(input: &mut Input<'_>) -> Self {
        let shape = input.byte();
        let seats: Vec<Seat> =
            configs(1 + 2 * (shape & 1), 1 + (shape & 2)).into_iter().map(Seat::new).collect();
        let packet = samples::all().into_iter().find(|(name, _)| *name == "datagram").expect("it is there").1;
        let known = Known::new(seats.iter().map(|seat| seat.config.node.0).collect());
        let (bodies, time) = (samples::bodies(), MS);
        let mut world = Self { seats, time, flight: Vec::new(), known, bodies, packet, calls: 0 };
        for seat in 0..world.seats.len() {
            world.restart(seat, 0);
        }
        for a in 0..world.seats.len() {
            (0..world.seats.len()).for_each(|b| world.connect(a, b));
        }
        world
    }

    /// One choice.
    pub fn act(&mut self, input: &mut Input<'_>) {
        match input.byte() % OPS {
            PUMP => (0..input.below(64)).for_each(|_| self.pump()),
            CALL => self.call(input),
            2 => self.deliver_at(input),
            3 => drop(self.pick(input)),
            4 => {
                if let Some(flight) = self.pick(input) {
                    self.launch(flight.clone());
                    self.land(flight);
                }
            }
            5 | 6 => self.deliver_changed(input),
            7 | 8 => self.sample(input),
            9 => self.garbage(input),
            10 => self.pass(u64::from(input.byte()) * MS / 4, true),
            11 => self.pass(u64::from(input.byte()) * 100 * MS, input.byte() & 1 == 0),
            12 => self.pass(u64::from(input.byte()) * 10_000 * MS, true),
            13 => {
                let seat = self.seat(input);
                self.step(seat, 0, Event::Wake);
            }
            14 => {
                let (seat, count) = (self.seat(input), input.below(4) + 1);
                let effects = self.seats[seat].store(self.time, count);
                self.take(seat, effects);
            }
            15 => {
                let (seat, token) = (self.seat(input), input.u64() >> (8 * input.below(8)));
                let effects = self.seats[seat].store_wrongly(self.time, token);
                self.take(seat, effects);
            }
            16 => {
                let (seat, survive) = (self.seat(input), input.below(8));
                self.restart(seat, survive);
            }
            17 => self.execution(input),
            18 => self.follow(input),
            19 => {
                let (a, b) = (self.seat(input), self.seat(input));
                self.connect(a, b);
            }
            20 => {
                let (seat, peer) = (self.seat(input), self.seat(input));
                let peer = self.seats[peer].config.node;
                self.step(seat, 0, Event::Disconnected { peer });
            }
            21 => self.datagram(input),
            22 => self.malformed(input),
            _ => self.end(input),
        }
    }

    fn seat(&self, input: &mut Input<'_>) -> usize {
        input.below(self.seats.len())
    }

    fn role(&self, seat: usize) -> Role {
        self.seats[seat].config.role
    }

    // ---- steps and what comes of them ----

    fn step(&mut self, seat: usize, waited: u64, event: Event) {
        let effects = self.seats[seat].step(self.time, waited, event);
        self.take(seat, effects);
    }

    fn restart(&mut self, seat: usize, survive: usize) {
        let effects = self.seats[seat].restart(self.time, survive);
        self.take(seat, effects);
    }

    /// What a node sends is under way. It may be sent, and survives the wire.
    fn take(&mut self, from: usize, effects: Vec<Effect>) {
        for effect in effects {
            self.known.learn(&minicbor::to_vec(&effect).expect("encoding into memory"));
            match effect {
                Effect::Send { to, message } => {
                    let Some(to) = self.seats.iter().position(|seat| seat.config.node == to) else {
                        continue;
                    };
                    let mut bytes = Vec::new();
                    encode_frame(&message, &mut bytes).expect("a node sends what fits");
                    let back = decode_frame(&bytes, self.role(from), self.role(to));
                    assert_eq!(
                        back,
                        Ok(Some((bytes.len(), Ok((*message).clone())))),
                        "the peer reads what was sent"
                    );
                    self.launch(Flight { from, to, said: Said::Message(message) });
                }
                Effect::SendDatagram { to, packet } => {
                    let bytes = wire::encode_packet(&packet).expect("a node sends what fits");
                    assert_eq!(wire::decode_packet(&bytes).as_ref(), Ok(&*packet));
                    if let Some(to) = self.seats.iter().position(|seat| seat.config.addr == to) {
                        self.launch(Flight { from, to, said: Said::Packet(packet) });
                    }
                }
                _ => {}
            }
        }
    }

    fn launch(&mut self, flight: Flight) {
        if self.flight.len() == FLIGHT_MAX {
            self.flight.remove(0);
        }
        self.flight.push(flight);
    }

    fn land(&mut self, flight: Flight) {
        let Flight { from, to, said } = flight;
        let event = match said {
            Said::Message(message) => Event::Received { peer: self.seats[from].config.node, message },
            Said::Packet(packet) => Event::Datagram { from: self.seats[from].config.addr, packet },
        };
        self.step(to, 0, event);
    }

    fn connect(&mut self, a: usize, b: usize) {
        if a != b && may_connect(self.role(b), self.role(a)) && self.seats[b].runs() {
            let (peer, boot) = (self.seats[b].config.node, self.seats[b].boot());
            self.step(a, 0, Event::Connected { peer, boot, dialect: wire::Dialect::OURS });
        }
    }

    /// Time passes. Those whose deadline it reaches are woken then; or, if not, whenever something else comes.
    fn pass(&mut self, nanos: u64, wake: bool) {
        let end = self.time + nanos;
        for _ in 0..if wake { 200 } else { 0 } {
            let next = (0..self.seats.len())
                .filter_map(|seat| self.seats[seat].wake_at().map(|at| (at, seat)))
                .min();
            let Some((at, seat)) = next.filter(|(at, _)| *at <= end) else { break };
            self.time = self.time.max(at);
            self.step(seat, 0, Event::Wake);
        }
        self.time = end;
    }

    /// Everything works for a moment.
    fn pump(&mut self) {
        self.pass(50 * MS, true);
        for seat in 0..self.seats.len() {
            let effects = self.seats[seat].store(self.time, usize::MAX);
            self.take(seat, effects);
            if let Some((run, _)) = self.seats[seat].running.first().cloned() {
                let totals = Box::new(Totals { ok: 1, elapsed_ms: 1, ..Totals::default() });
                let (windows, why) = (Vec::new(), String::new());
                self.seats[seat].running.remove(0);
                self.step(seat, 0, Event::Exec(Box::new(ExecEvent::Started { run, late: Duration::ZERO })));
                let finished = ExecEvent::Finished { run, outcome: Outcome::Completed, totals, windows, why };
                self.step(seat, 0, Event::Exec(Box::new(finished)));
            }
        }
        for flight in std::mem::take(&mut self.flight) {
            self.land(flight);
        }
    }

    // ---- the network's tricks ----

    fn pick(&mut self, input: &mut Input<'_>) -> Option<Flight> {
        let at = input.below(self.flight.len());
        (at < self.flight.len()).then(|| self.flight.remove(at))
    }

    fn deliver_at(&mut self, input: &mut Input<'_>) {
        if let Some(flight) = self.pick(input) {
            self.land(flight);
        }
    }

    /// One of the messages under way arrives, but it says something else.
    fn deliver_changed(&mut self, input: &mut Input<'_>) {
        let Some(flight) = self.pick(input) else { return };
        match flight.said {
            Said::Message(message) => {
                let body = minicbor::to_vec(&message).expect("encoding into memory");
                let body = self.known.vary(&body, true, input);
                self.receive(flight.from, flight.to, message.kind() as u16, &body);
            }
            Said::Packet(packet) => {
                let bytes = wire::encode_packet(&packet).expect("it has been sent");
                self.receive_packet(flight.from, flight.to, &bytes, input);
            }
        }
    }

    /// A sample arrives, with ids that mean something.
    fn sample(&mut self, input: &mut Input<'_>) {
        let (kind, body) = self.bodies[input.below(self.bodies.len())].clone();
        let (from, to, bold) = (self.seat(input), self.seat(input), input.byte() & 1 == 1);
        let body = self.known.vary(&body, bold, input);
        self.receive(from, to, kind, &body);
    }

    fn garbage(&mut self, input: &mut Input<'_>) {
        let (from, to, kind) = (self.seat(input), self.seat(input), u16::from(input.byte() & 63));
        let body = input.take(64).to_vec();
        self.receive(from, to, kind, &body);
    }

    /// A frame arrives, as a driver takes it.
    fn receive(&mut self, from: usize, to: usize, kind: u16, body: &[u8]) {
        let (source, target) = (self.role(from), self.role(to));
        if from == to || !may_connect(source, target) {
            return;
        }
        let class = wire::Kind::from_number(kind).map_or(0, |kind| kind.class() as u8);
        let mut bytes = ((HEADER_LEN + body.len()) as u32).to_be_bytes().to_vec();
        let [high, low] = kind.to_be_bytes();
        bytes.extend([wire::MAJOR, class, high, low, 0, 0]);
        bytes.extend(body);
        let peer = self.seats[from].config.node;
        match decode_frame(&bytes, source, target) {
            Ok(Some((_, Ok(message)))) => {
                assert!(may_send(source, target, message.kind()));
                self.step(to, 0, Event::Received { peer, message: Box::new(message) });
            }
            Ok(Some((_, Err(why)))) | Err(why) => {
                self.step(to, 0, Event::Malformed { peer: Some(peer), why })
            }
            Ok(None) => {}
        }
    }

    fn datagram(&mut self, input: &mut Input<'_>) {
        let (from, to, bytes) = (self.seat(input), self.seat(input), self.packet.clone());
        self.receive_packet(from, to, &bytes, input);
    }

    fn receive_packet(&mut self, from: usize, to: usize, bytes: &[u8], input: &mut Input<'_>) {
        let bytes = [&bytes[..1], &self.known.vary(&bytes[1..], true, input)].concat();
        let addr = self.seats[from].config.addr;
        match wire::decode_packet(&bytes) {
            Ok(packet) => self.step(to, 0, Event::Datagram { from: addr, packet: Box::new(packet) }),
            Err(why) => self.step(to, 0, Event::Malformed { peer: None, why }),
        }
    }

    fn malformed(&mut self, input: &mut Input<'_>) {
        let (seat, peer) = (self.seat(input), self.seat(input));
        let peer = (input.byte() & 1 == 0).then(|| self.seats[peer].config.node);
        self.step(seat, u64::from(input.byte()) * MS, Event::Malformed { peer, why: Malformed::Body });
    }

    /// The disk fails, or the operator has enough.
    fn end(&mut self, input: &mut Input<'_>) {
        let seat = self.seat(input);
        let event = match input.below(3) {
            0 => Event::StoreFailed { token: Default::default(), why: "no space left".into() },
            _ => Event::Drain,
        };
        self.step(seat, 0, event);
    }

    // ---- clients and executors ----

    fn job(&self, input: &mut Input<'_>) -> JobId {
        JobId(self.known.other(input).unwrap_or([0x11; 16]))
    }

    fn call(&mut self, input: &mut Input<'_>) {
        let gate = input.below(self.seats.iter().filter(|seat| seat.config.role == Role::Gate).count());
        let request = match input.below(12) {
            0..=2 => Request::Submit { key: None, spec: Box::new(self.spec(input)) },
            3 => Request::Submit {
                key: Some(format!("key {}", input.below(3))),
                spec: Box::new(self.spec(input)),
            },
            4 => Request::Status { job: self.job(input) },
            5 => Request::List { after: None, limit: u16::from(input.byte()) },
            6 => Request::Cancel { job: self.job(input), reason: "enough".into() },
            7 => Request::Result { job: self.job(input) },
            8 | 9 => {
                Request::Events { job: self.job(input), after: None, credit: u32::from(input.byte() & 7) }
            }
            10 => Request::Datacenters,
            _ => Request::Members,
        };
        self.calls += 1;
        let identity =
            Identity { tenant: format!("tenant {}", input.below(2)), operator: input.byte() & 7 == 7 };
        self.step(gate, 0, Event::Api { call: CallId(self.calls), identity, request: Box::new(request) });
    }

    fn spec(&self, input: &mut Input<'_>) -> JobSpec {
        let spec = spec(input);
        if input.byte() & 3 != 3 {
            return spec;
        }
        let bytes = minicbor::to_vec(&spec).expect("encoding into memory");
        minicbor::decode(&self.known.vary(&bytes, true, input)).unwrap_or(spec)
    }

    /// A client's connection: it takes more, or is gone.
    fn follow(&mut self, input: &mut Input<'_>) {
        let (gate, call) = (self.seat(input), CallId(u64::from(input.byte())));
        if input.byte() & 1 == 0 {
            self.step(
                gate,
                0,
                Event::ApiWritable { call, credit: u32::from(input.byte()) << input.below(25) },
            );
        } else if self.seats[gate].has_call(call) {
            self.step(gate, 0, Event::ApiClosed { call });
        }
    }

    /// News of an execution that runs.
    fn execution(&mut self, input: &mut Input<'_>) {
        let Some(seat) = (0..self.seats.len()).find(|&seat| !self.seats[seat].running.is_empty()) else {
            return;
        };
        let place = input.below(self.seats[seat].running.len());
        let run = self.seats[seat].running[place].0;
        let number = u64::from(input.byte());
        let totals = Box::new(Totals { ok: number, err: 1, elapsed_ms: 5, ..Totals::default() });
        let windows =
            vec![Window { no: number as u32, count: 1, ok: number, err: 0, latency: Default::default() }];
        let why = String::new();
        let event = match input.below(4) {
            0 => ExecEvent::Started { run, late: Duration::from_millis(number) },
            1 => {
                let outcome = [Outcome::Completed, Outcome::Failed, Outcome::Cancelled, Outcome::Killed]
                    [input.below(4)];
                self.seats[seat].running.remove(place);
                ExecEvent::Finished { run, outcome, totals, windows, why }
            }
            _ => ExecEvent::Progress { run, totals, windows },
        };
        self.step(seat, 0, Event::Exec(Box::new(event)));
    }

    /// What the disks hold at last.
    pub fn into_seats(self) -> Vec<Seat> {
        self.seats
    }
}

/// A small job.
fn spec(input: &mut Input<'_>) -> JobSpec {
    let kind = [ExecutorKind::Sleep, ExecutorKind::Http, ExecutorKind::Command][input.below(3)];
    let workflow = |name: &str, needs| WorkflowSpec {
        name: name.into(),
        needs,
        executor: kind,
        load: Load { vus: 4, rate_milli: 0, duration_ms: 200, instances: 2 },
        cores: 1,
        payload: Default::default(),
    };
    let mut workflows = vec![workflow("one", Vec::new())];
    if input.byte() & 1 == 1 {
        workflows.push(workflow("two", vec![WorkflowIx(0)]));
    }
    JobSpec {
        name: "fuzzed".into(),
        placement: Placement::Any,
        timeout_ms: 5_000,
        on_worker_loss: [OnWorkerLoss::Replace, OnWorkerLoss::Degrade, OnWorkerLoss::Fail][input.below(3)],
        partial_results: true,
        retries: 2,
        workflow_retries: 2,
        thresholds: Vec::new(),
        workflows,
    }
}

/// Gates, managers and a worker of one datacenter.
fn configs(managers: u8, gates: u8) -> Vec<NodeConfig> {
    let dc = DcId::new("fra-1").expect("a name");
    let roles = [(Role::Gate, gates), (Role::Manager, managers), (Role::Worker, 1)];
    let all = roles.into_iter().flat_map(|(role, count)| (0..count).map(move |n| (role, n)));
    let peers: Vec<(Role, Peer)> = all
        .enumerate()
        .map(|(place, (role, n))| {
            let name = format!("{}{n}", role.as_str());
            let home = if role == Role::Gate { "" } else { dc.as_str() };
            let mut ip = [0; 16];
            (ip[0], ip[15]) = (0xfd, place as u8);
            (
                role,
                Peer {
                    node: NodeId::derive("fuzz", role, home, &name),
                    name,
                    addr: Addr { ip, port: 7_000 },
                },
            )
        })
        .collect();
    let of =
        |role| peers.iter().filter(|(is, _)| *is == role).map(|(_, peer)| peer.clone()).collect::<Vec<_>>();
    let datacenters = vec![Datacenter { dc, managers: of(Role::Manager), region: dc }];
    let config = |(role, peer): &(Role, Peer)| NodeConfig {
        cluster: "fuzz".into(),
        role: *role,
        dc: if *role == Role::Gate { DcId::NONE } else { dc },
        name: peer.name.clone(),
        node: peer.node,
        addr: peer.addr,
        roster: Roster {
            gates: if *role == Role::Worker { Vec::new() } else { of(Role::Gate) },
            datacenters: datacenters.clone(),
        },
        offer: match role {
            Role::Worker => Offer {
                cores: 4,
                executors: vec![ExecutorKind::Sleep, ExecutorKind::Http, ExecutorKind::Command],
            },
            _ => Offer::default(),
        },
        timing: Timing::for_role(*role),
        limits: small_limits(),
        allow_two_voters: false,
        minor: tidegate_core::wire::MINOR,
    };
    peers.iter().map(config).collect()
}

/// Bounds that a fuzzer reaches.
fn small_limits() -> Limits {
    Limits {
        jobs: 8,
        jobs_per_tenant: 6,
        streams_per_job: 3,
        event_ring: 8,
        window_ring: 4,
        tombstones: 4,
        calls: 8,
        worker_outbox: 4,
        log_keep: 16,
        image_rows: 3,
    }
}
