//! Runs that once failed: they pass today, and they still come to their point when the nodes draw other random numbers.
//!
//! A repro that hangs on one draw of one node is gone after the next change of the code. Here every node gets another
//! stream, which is what one more draw, anywhere, comes to and more. `tidegate-sim mutants` asks the other half: that a
//! kept run fails again, with each of these streams, once its defect is put back.

use std::path::{Path, PathBuf};

use tidegate_sim::runner::{self, Extras};
use tidegate_sim::scenario::{Case, REGRESSIONS, load};
use tidegate_sim::schedule::Notes;
use tidegate_sim::shrink::STREAMS;

fn kept() -> Vec<Box<dyn Case>> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(REGRESSIONS);
    load(&[folder]).expect("the files are sound")
}

#[test]
fn every_kept_run_comes_to_its_point_whatever_the_nodes_draw() {
    let cases = kept();
    assert!(!cases.is_empty(), "there are runs to replay");
    for case in &cases {
        let repro = case.repro(0);
        let found = repro.found.as_ref().expect("it says what it was kept for");
        for streams in std::iter::once(0).chain(STREAMS) {
            let here = format!("{} with streams {streams}", case.id());
            let notes = Notes::default();
            let mut spectators = repro.spectators();
            spectators.push(Box::new(notes.clone()));
            let extras = Extras { spectators, streams, ..Extras::default() };
            let verdict = runner::run(repro.plan.clone(), extras).expect("it is sound");
            assert_eq!(verdict.violation, None, "{here}: it was kept for {found}");
            let fired = notes.take();
            let silent = (0..repro.plan.faults.len()).find(|fault| !fired.contains_key(fault));
            assert_eq!(silent, None, "{here}: this fault never happens");
        }
    }
}

#[test]
fn other_streams_make_another_run() {
    let repro = kept().first().expect("there are runs to replay").repro(0);
    let digest = |streams| {
        let extras = Extras { streams, ..Extras::default() };
        runner::run(repro.plan.clone(), extras).expect("it is sound").digest
    };
    assert_eq!(digest(0), digest(0));
    assert_ne!(digest(0), digest(1));
}

#[test]
fn what_once_failed_runs_first() {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let cases = load(&[all]).expect("the files are sound");
    let is_kept = |case: &dyn Case| case.file().components().any(|part| part.as_os_str() == REGRESSIONS);
    let kept: Vec<bool> = cases.iter().map(|case| is_kept(case.as_ref())).collect();
    assert!(kept.first() == Some(&true) && kept.last() == Some(&false));
    assert!(kept.iter().rev().is_sorted());
}
