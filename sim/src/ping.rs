//! The ping workload: N nodes, each pings its neighbour in the ring every 10 ms, which answers at once.
//!
//! It runs on the world of the scenarios, with the same queue, links and digest: what it measures is what every run
//! pays. The nodes are gates in name only.

use tidegate_core::census::Census;
use tidegate_core::config::Boot;
use tidegate_core::effect::{Effect, Effects, HaltReason};
use tidegate_core::event::Event;
use tidegate_core::id::{JobId, NodeId};
use tidegate_core::time::{Duration, Instant, Now};
use tidegate_core::wire::Message;

use crate::plan::{ClusterPlan, DiskPlan, LinkPlan, NetworkPlan, Plan, RunPlan};
use crate::world::{HostInfo, Machine};

/// Each node pings this often.
const PERIOD: Duration = Duration::from_millis(10);

/// One node.
#[derive(Clone, Debug)]
pub struct Ping {
    next: Option<NodeId>,
    due: Option<Instant>,
    sent_at: Instant,
    /// Answers that came.
    pub answers: u64,
    /// Sum of their round trips, in nanoseconds.
    pub round_trips_ns: u64,
}

impl Machine for Ping {
    fn begin(boot: Boot) -> Result<Self, HaltReason> {
        let gates = &boot.config.roster.gates;
        let place = gates.iter().position(|gate| gate.node == boot.config.node);
        let next = place.map(|place| gates[(place + 1) % gates.len()].node);
        Ok(Self { next, due: None, sent_at: Instant::ZERO, answers: 0, round_trips_ns: 0 })
    }

    fn step_into(&mut self, now: Now, event: Event, out: &mut Effects) {
        if let Some(due) = self.due
            && due <= now.mono
        {
            self.due = Some(due + PERIOD);
            self.sent_at = now.mono;
            if let Some(to) = self.next {
                out.push(Effect::Send {
                    to,
                    message: Box::new(Message::Ping { token: now.mono.as_nanos() }),
                });
            }
        }
        match event {
            Event::Connected { peer, .. } if self.next == Some(peer) => self.due = Some(now.mono),
            Event::Disconnected { peer } if self.next == Some(peer) => self.due = None,
            Event::Received { peer, message } => match *message {
                Message::Ping { token } => {
                    out.push(Effect::Send {
                        to: peer,
                        message: Box::new(Message::Pong {
                            token,
                            coordinate: None,
                            condition: Default::default(),
                        }),
                    });
                }
                Message::Pong { token, .. } => {
                    self.answers += 1;
                    self.round_trips_ns += now.mono.as_nanos() - token;
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.due
    }

    fn mentions(&self, _job: JobId) -> usize {
        0
    }

    fn census(&self) -> Census {
        Census::default()
    }

    fn connections(nodes: &[HostInfo]) -> Vec<(usize, usize)> {
        let count = nodes.len();
        let ring = if count == 2 { 1 } else { count };
        (0..ring).map(|place| (place, (place + 1) % count)).collect()
    }
}

/// The plan of the workload with so many nodes.
pub fn plan(nodes: u16) -> Plan {
    let link = LinkPlan { latency_us: 1_000, ..LinkPlan::default() };
    Plan {
        seed: 1,
        run: RunPlan { faults_end_ms: 1_000_000_000, ..RunPlan::default() },
        cluster: ClusterPlan {
            gates: nodes,
            gate_regions: Vec::new(),
            allow_two_voters: true,
            absent: Vec::new(),
            old_version: Vec::new(),
            greets: Default::default(),
            start_stagger_ms: 0,
            timer_late_us: 0,
            mono_ppm: 0,
            timing_ms: Default::default(),
            limits: Default::default(),
            disk: DiskPlan::default(),
            datacenters: Vec::new(),
        },
        network: NetworkPlan { local: link, remote: link, redial_ms: 10, ..NetworkPlan::default() },
        driver: Default::default(),
        clients: Vec::new(),
        faults: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    const SECOND: u64 = 1_000_000_000;

    fn world(nodes: u16) -> World<Ping> {
        World::new(plan(nodes), Vec::new()).expect("the plan is valid")
    }

    #[test]
    fn every_ping_is_answered_after_one_round_trip() {
        let mut world = world(16);
        world.run_until(10 * SECOND);
        for host in 0..16 {
            let node = world.node(host).expect("it runs");
            assert!((990..=1_000).contains(&node.answers), "{}", node.answers);
            assert_eq!(node.round_trips_ns, node.answers * 2_000_000, "1 ms each way, neither more nor less");
        }
    }

    #[test]
    fn equal_plans_give_equal_worlds() {
        let run = |seed| {
            let mut plan = plan(5);
            plan.seed = seed;
            plan.network.local.jitter_us = 300;
            let mut world = World::<Ping>::new(plan, Vec::new()).expect("the plan is valid");
            (world.run_until(3 * SECOND), world.digest())
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1).1, run(2).1);
    }
}
