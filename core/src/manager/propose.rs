//! What this manager asks the log to decide, and for which duty of which record.

use super::command::Command;
use super::job::Duty;
use super::{Asked, Manager, Timer};
use crate::effect::Effects;
use crate::fault::Fault;
use crate::id::JobId;
use crate::observe::Observation;
use crate::time::Now;

impl Manager {
    /// Proposes a command for a duty that its record has noted as proposed.
    pub(super) fn propose_for(
        &mut self,
        now: Now,
        job: JobId,
        duty: Duty,
        command: Command,
        out: &mut Effects,
    ) {
        let proposed = self.propose(now, Asked::Duty(job, duty), command, out);
        let Some(record) = self.ledger.state_mut().jobs.get_mut(&job) else { return };
        match proposed {
            Ok(n) => drop(record.live.proposed.insert(duty, n)),
            Err(_) => {
                // Too much is undecided: the duty stays due.
                record.live.proposed.remove(&duty);
                self.wheel.arm(Timer::Job(job), now.mono + self.config.timing.log_tick);
            }
        }
    }

    /// Proposes a command for a duty of a record, unless one is undecided.
    pub(super) fn propose_duty(
        &mut self,
        now: Now,
        job: JobId,
        duty: Duty,
        command: Command,
        out: &mut Effects,
    ) -> Result<(), Fault> {
        match self.ledger.state().jobs.get(&job) {
            Some(record) if !record.is_proposed(duty) => {
                let n = self.propose(now, Asked::Duty(job, duty), command, out)?;
                if let Some(record) = self.ledger.state_mut().jobs.get_mut(&job) {
                    record.live.proposed.insert(duty, n);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn propose(
        &mut self,
        now: Now,
        asked: Asked,
        command: Command,
        out: &mut Effects,
    ) -> Result<u64, Fault> {
        let proposed = self.ledger.propose(now, command, &mut self.store, out);
        match &proposed {
            Ok(n) => {
                if let Asked::Owners(jobs) = &asked {
                    for job in jobs {
                        if let Some(record) = self.ledger.state_mut().jobs.get_mut(job) {
                            record.live.proposed.insert(Duty::Owner, *n);
                        }
                    }
                }
                self.asked.insert(*n, asked);
            }
            Err(fault) => self.observe(Observation::Refused(fault.code), out),
        }
        proposed
    }
}
