//! Says why a run failed: a record of it, the causal cone of the violation, its story in words, and a page to look at.

mod cone;
mod nearest;
mod page;
mod record;
mod story;

pub use cone::cone;
pub use nearest::{Nearest, first_difference, nearest_passing};
pub use page::page;
pub use record::{Event, Kind, Record, Recorder, Span};
pub use story::{LINES_MAX, story};

use crate::plan::BadPlan;
use crate::runner::{self, Extras};
use crate::scenario::Repro;
use crate::world::Verdict;

/// Runs and writes it down.
pub fn record(repro: &Repro) -> Result<(Verdict, Record), BadPlan> {
    let recorder = Recorder::default();
    let extras = Extras {
        spectators: repro.spectators(),
        first: Some(Box::new(recorder.clone())),
        ..Extras::default()
    };
    let verdict = runner::run(repro.plan.clone(), extras)?;
    let record = recorder.take(verdict.violation.clone());
    Ok((verdict, record))
}
