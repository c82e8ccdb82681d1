//! Who lives and who does not: what membership says of managers and workers, and what follows from its silence.

use super::Manager;
use crate::effect::Effects;
use crate::observe::Observation;
use crate::swim::MemberStatus;
use crate::time::Now;

impl Manager {
    /// Once this process has looked for long enough: workers that run something by the log, and of which it never heard.
    pub(super) fn lose_unheard(&mut self, now: Now, out: &mut Effects) {
        if self.unheard_are_lost || !self.pool.gives_up_unheard(now, &self.config.timing) {
            return;
        }
        self.unheard_are_lost = true;
        let workers = self.promised();
        for worker in workers.into_keys().filter(|worker| self.pool.is_unheard(*worker)) {
            self.observe(Observation::WorkerLost(worker), out);
        }
    }

    pub(super) fn heed_membership(&mut self, out: &mut Effects) {
        for (node, status) in self.swim.changes() {
            if self.is_manager(node) {
                self.ledger.peer_alive(node, status == MemberStatus::Alive);
                continue;
            }
            self.pool.set_status(node, status);
            self.cores_wanted = true;
            self.capacity_news = true;
            if matches!(status, MemberStatus::Dead | MemberStatus::Left) {
                self.observe(Observation::WorkerLost(node), out);
                self.hurry(node);
            }
        }
    }
}
