//! The nearest run that passes: the same schedule without one fault.

use super::record;
use super::record::{Event, Record};
use crate::plan::BadPlan;
use crate::runner::{self, Extras};
use crate::scenario::Repro;

/// A run that passes, and what it does without.
#[derive(Clone, Debug)]
pub struct Nearest {
    /// The fault that is not in it.
    pub without: String,
    /// The run.
    pub record: Record,
    /// The first event that is not the same in both.
    pub differs_at: usize,
}

/// The run without the latest fault that makes the difference; `None` where it fails without any one of them as well.
pub fn nearest_passing(repro: &Repro, failing: &Record) -> Result<Option<Nearest>, BadPlan> {
    for place in (0..repro.plan.faults.len()).rev() {
        let mut other = repro.clone();
        let fault = other.plan.faults.remove(place);
        let extras = Extras { spectators: other.spectators(), ..Extras::default() };
        if runner::run(other.plan.clone(), extras)?.violation.is_some() {
            continue;
        }
        let (_, record) = record(&other)?;
        let without = format!("{} at {}", fault.kind.name(), fault.target);
        let differs_at = first_difference(failing, &record);
        return Ok(Some(Nearest { without, record, differs_at }));
    }
    Ok(None)
}

/// The place of the first event that differs.
pub fn first_difference(a: &Record, b: &Record) -> usize {
    let same = |(a, b): &(&Event, &Event)| (a.at, a.host, a.kind, &a.name) == (b.at, b.host, b.kind, &b.name);
    a.events.iter().zip(&b.events).take_while(same).count()
}
