//! What the gates are told of the datacenter as a whole.

use alloc::vec::Vec;

use super::alerts::{Counts, Crowd};
use super::{Manager, Timer, Told};
use crate::effect::Effects;
use crate::id::NodeId;
use crate::time::Now;
use crate::wire::{DcLoad, Feature, Message};

impl Manager {
    /// Tells every gate how the datacenter stands.
    pub(super) fn heartbeat_all(&mut self, now: Now, out: &mut Effects) {
        self.wheel.arm(Timer::Heartbeat, now.mono + self.config.timing.dc_heartbeat);
        let gates = self.config.roster.gates.iter().map(|gate| gate.node);
        let connected: Vec<NodeId> = gates.filter(|gate| self.links.is_connected(*gate)).collect();
        for gate in connected {
            self.heartbeat(now, gate, out);
        }
    }

    pub(super) fn heartbeat(&mut self, now: Now, gate: NodeId, out: &mut Effects) {
        self.heartbeat_no += 1;
        let load = DcLoad {
            dc: self.config.dc,
            boot: self.boot,
            version: self.heartbeat_no,
            is_leader: self.ledger.is_leader(),
            term: self.ledger.term(),
            leader: self.ledger.leader(),
            accepting: self.is_accepting(now),
            capacity: self.pool.capacity(now, &self.config.timing, &self.promised()),
            queued_shards: self.queued_shards(),
            jobs: self.ledger.state().jobs.len() as u32,
            known_workers: self.pool.iter().count() as u32,
            conditions: match self.links.may_use(gate, Feature::Conditions) {
                true => self.pool.conditions(now, &self.config.timing),
                false => Counts::default(),
            },
            extended: if self.links.may_use(gate, Feature::MoreTime) { self.extended() } else { 0 },
        };
        self.send(gate, Message::DcHeartbeat(load), out);
    }

    /// Says where the managers, or the workers, are in trouble as a whole.
    pub(super) fn look_at_crowds(&mut self, now: Now, out: &mut Effects) {
        let workers = self.pool.conditions(now, &self.config.timing);
        self.alerts.workers.look(Crowd::Workers, workers, None, out);
        let me = self.config.node;
        let condition = |manager: NodeId| match manager == me {
            true => self.links.condition(),
            false => self.links.peer_condition(manager),
        };
        let mut managers = Counts::default();
        for peer in self.config.roster.managers(self.config.dc) {
            if peer.node == me || self.links.is_connected(peer.node) {
                managers[condition(peer.node) as usize] += 1;
            }
        }
        let leader = self.ledger.leader().map(condition);
        self.alerts.managers.look(Crowd::Managers, managers, leader, out);
    }

    fn is_accepting(&self, now: Now) -> bool {
        self.draining.is_none() && self.may_act(now)
    }

    /// Heartbeats at once when the leader changes or free cores come or go.
    pub(super) fn heartbeat_on_change(&mut self, now: Now, out: &mut Effects) {
        let has_free_cores = match core::mem::take(&mut self.capacity_news) {
            true => self.pool.capacity(now, &self.config.timing, &self.promised()).free_cores > 0,
            false => self.told.has_free_cores,
        };
        let told = Told {
            leader: self.ledger.leader(),
            term: self.ledger.term(),
            has_free_cores,
            accepting: self.is_accepting(now),
        };
        if told != self.told {
            let led = self.told.leader == told.leader;
            self.told = told;
            self.heartbeat_all(now, out);
            if !led {
                self.reassign(now, out);
            }
        }
    }
}
