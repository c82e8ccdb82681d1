//! Event streams: what readers of a job have seen, and the ring of volatile events.
//!
//! Kept events come from the record, in order, to every reader, whatever it costs. Volatile ones come from a ring at the
//! job's owner: newer progress replaces older, a newer revision of a window replaces the older, and where the ring has
//! overwritten what a reader has not seen, the reader gets a `Gap`. Positions strictly increase on every stream.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::job::{GateJob, Kept};
use super::verdict;
use crate::api::{ClientEvent, ClientEventKind, EventPos};
use crate::effect::{Effect, Effects};
use crate::id::{CallId, GateEpoch, JobId};

/// A reader of a job's events.
#[derive(Clone, Debug)]
pub struct Stream {
    /// How many events it still takes.
    pub credit: u32,
    /// The newest event that it has.
    pub cursor: EventPos,
    /// Volatile events that were overwritten before it took them, since the last `Gap`.
    pub missed: u32,
    /// It had volatile events of another owner: a `Gap` is due here.
    pub gap_at: Option<EventPos>,
    /// It ends once it has every kept event: this gate does not serve the job any more.
    pub ending: bool,
}

/// The newest volatile events of a job.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    events: VecDeque<(EventPos, Box<ClientEventKind>)>,
    last_vol: u32,
    /// The newest event that was overwritten.
    lost: EventPos,
}

impl Ring {
    /// Adds an event, which replaces what it makes superfluous; at the bound the oldest goes, and every reader that
    /// has not seen it counts it as missed.
    pub fn push(
        &mut self,
        kept: u64,
        epoch: GateEpoch,
        kind: ClientEventKind,
        bound: usize,
        streams: &mut BTreeMap<CallId, Stream>,
    ) {
        self.events.retain(|(_, old)| !replaces(&kind, old));
        while self.events.len() >= bound.max(1) {
            let Some((lost, _)) = self.events.pop_front() else { break };
            self.lost = lost;
            for stream in streams.values_mut().filter(|stream| stream.cursor < lost) {
                stream.missed = stream.missed.saturating_add(1);
            }
        }
        self.last_vol = self.last_vol.saturating_add(1);
        self.events.push_back((EventPos { kept, epoch, vol: self.last_vol }, Box::new(kind)));
    }

    /// How many events it holds.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Forgets the events; numbering goes on.
    pub fn clear(&mut self) {
        if let Some((newest, _)) = self.events.pop_back() {
            self.lost = newest;
        }
        self.events.clear();
    }

    fn after(&self, cursor: EventPos) -> Option<&(EventPos, Box<ClientEventKind>)> {
        let first = self.events.partition_point(|(pos, _)| *pos <= cursor);
        self.events.get(first)
    }
}

/// Whether a reader that gets `new` needs `old` no more.
fn replaces(new: &ClientEventKind, old: &ClientEventKind) -> bool {
    use ClientEventKind::{Progress, StatsWindow};
    match (new, old) {
        (Progress { .. }, Progress { .. }) => true,
        (
            StatsWindow { workflow, window, .. },
            StatsWindow { workflow: old_workflow, window: old_window, .. },
        ) => (workflow, window.no) == (old_workflow, old_window.no),
        _ => false,
    }
}

impl GateJob {
    /// Gives every reader what it has credit for. Returns the streams that ended with this.
    pub(super) fn pump(&mut self, job: JobId, out: &mut Effects) -> Vec<CallId> {
        let calls: Vec<CallId> = self.live.streams.keys().copied().collect();
        calls.into_iter().filter(|call| self.pump_one(job, *call, out)).collect()
    }

    /// Gives one reader what it has credit for; tells whether its stream ended.
    fn pump_one(&mut self, job: JobId, call: CallId, out: &mut Effects) -> bool {
        let Some(mut stream) = self.live.streams.remove(&call) else { return false };
        let over = loop {
            if self.row.status.is_final() && stream.cursor.kept >= self.newest_kept() {
                break true;
            }
            if stream.credit == 0 {
                break false;
            }
            let Some(event) = self.next_event(job, &mut stream) else { break stream.ending };
            stream.credit -= 1;
            stream.cursor = event.pos;
            out.push(Effect::Push { call, event: Some(Box::new(event)) });
        };
        if over {
            out.push(Effect::Push { call, event: None });
        } else {
            self.live.streams.insert(call, stream);
        }
        over
    }

    /// The first event after the reader's cursor: kept, volatile, or the news that volatile ones are gone.
    fn next_event(&self, job: JobId, stream: &mut Stream) -> Option<ClientEvent> {
        let kept = Some(stream.cursor.kept + 1).filter(|kept| *kept <= self.newest_kept());
        let kept_pos = kept.map(GateJob::kept_pos);
        let lost = Some(self.live.ring.lost).filter(|lost| *lost > stream.cursor);
        let gap_pos = stream.gap_at.filter(|at| *at > stream.cursor).or(lost);
        let volatile = self.live.ring.after(stream.cursor).filter(|_| !stream.ending);
        let next = [kept_pos, gap_pos, volatile.map(|(pos, _)| *pos)].into_iter().flatten().min()?;
        let kind = if kept_pos == Some(next) {
            self.kept_event(job, next.kept)?
        } else if gap_pos == Some(next) {
            stream.gap_at = stream.gap_at.filter(|at| *at > next);
            ClientEventKind::Gap { missed: core::mem::take(&mut stream.missed) }
        } else {
            (*volatile?.1).clone()
        };
        Some(ClientEvent { job, pos: next, kind })
    }

    /// A kept event, as clients see it.
    pub(super) fn kept_event(&self, job: JobId, kept: u64) -> Option<ClientEventKind> {
        match self.events.get(usize::try_from(kept).ok()?.checked_sub(1)?)? {
            Kept::Event(kind) => Some(kind.clone()),
            Kept::Final => Some(ClientEventKind::Final(Box::new(verdict::result(job, self)))),
        }
    }
}
