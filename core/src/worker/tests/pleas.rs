//! A manager that acknowledges nothing of a job: it is asked for more time.

use super::*;
use crate::suspicion::extension::{Denial, Denied, Grant, Plea};

fn pleas(stage: &mut Stage) -> Vec<Plea> {
    let plea = |line: &String| line.starts_with("-> M1 MoreTime").then_some(());
    let count = stage.lines.iter().filter_map(plea).count();
    stage.lines.clear();
    (0..count).map(|_| Plea::default()).collect()
}

fn answer(stage: &mut Stage, seq: u64, ends_in_ms: u32, granted: Result<Grant, Denied>) {
    stage.receive(M1, Message::MoreTimeReply { job: A, dc_epoch: DcEpoch(1), seq, ends_in_ms, granted });
}

#[test]
fn it_asks_once_before_its_silence_counts_and_again_before_the_grant_ends() {
    // The run began at 100 ms; run_silence is 60 s.
    let mut stage = Stage::running();
    stage.at_with(&[M1, M2], 50_050);
    assert_eq!(pleas(&mut stage).len(), 0);
    stage.at_with(&[M1, M2], 50_200);
    assert_eq!(pleas(&mut stage).len(), 1);
    answer(&mut stage, 1, 39_900, Ok(Grant { time_ms: 30_000, left: 4, warning: false }));
    stage.at_with(&[M1, M2], 80_000);
    assert_eq!(pleas(&mut stage).len(), 0, "answered");
    stage.at_with(&[M1, M2], 80_200);
    assert_eq!(pleas(&mut stage).len(), 1);
    answer(&mut stage, 1, 1, Err(Denied::plain(Denial::NoProgress)));
    stage.at_with(&[M1, M2], 85_000);
    assert_eq!(
        pleas(&mut stage).len(),
        0,
        "an answer to another plea is none, and there was no time to repeat"
    );
    stage.at_with(&[M1, M2], 85_300);
    assert_eq!(pleas(&mut stage).len(), 1, "repeated");
}

#[test]
fn a_receipt_ends_it_and_who_runs_nothing_asks_nothing() {
    let mut stage = Stage::running();
    stage.at_with(&[M1, M2], 45_000);
    stage.receive(M1, Message::ShardProgressAck { run: run(0, 1), seq: 0, windows_through: 0 });
    stage.at_with(&[M1, M2], 80_000);
    assert_eq!(pleas(&mut stage).len(), 0);
    stage.finish(run(0, 1), Outcome::Completed);
    stage.at_with(&[M1, M2], 200_000);
    assert_eq!(pleas(&mut stage).len(), 0);
    assert_eq!(stage.worker.timers.deadline(Timer::Plea(A)), None);
}
