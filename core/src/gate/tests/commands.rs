//! Laws of the applied state.

use super::super::command::{MAX_KEPT, MAX_REPORT_BYTES, PART_BYTES};
use super::super::state::parts_of;
use super::*;
use crate::ledger::{Changes, Entry, ProposalId, State};
use crate::stats::Sketch;
use proptest::prelude::*;

const JOBS: u8 = 3;

fn job(ix: u8) -> JobId {
    JobId([ix; 16])
}

fn accept(ix: u8, key: Option<&str>, spec: JobSpec) -> GateCommand {
    let origin = Origin {
        tenant: "t".to_string(),
        key: key.map(str::to_string),
        digest: [ix; 32],
        spec: Box::new(spec),
    };
    let accept = Accept {
        job: job(ix),
        origin,
        owner: gate_id("g0"),
        targets: vec![dc("a"), dc("b")],
        fallbacks: vec![dc("c")],
    };
    GateCommand::JobAccepted(Box::new(accept))
}

fn apply(state: &mut GateState, index: u64, command: GateCommand) -> Changes {
    let mut changes = Changes::default();
    let proposal = ProposalId { node: gate_id("g0"), boot: BootNo(1), n: index };
    state.apply(&Entry { index, proposal, command }, &mut changes);
    changes
}

fn rows(state: &GateState) -> BTreeMap<Vec<u8>, Vec<u8>> {
    state.keys().into_iter().map(|key| (key.clone(), state.row(&key).expect("a named row"))).collect()
}

fn by(ix: u8, epoch: u64) -> ByOwner {
    ByOwner { job: job(ix), gate_epoch: GateEpoch(epoch), elapsed_ms: 7 }
}

fn at(name: &str, dc_epoch: u64) -> DcAt {
    DcAt { dc: dc(name), dc_epoch: DcEpoch(dc_epoch), owner: manager(name) }
}

fn status() -> impl Strategy<Value = JobStatus> {
    prop_oneof![
        Just(JobStatus::Completed),
        Just(JobStatus::Partial),
        Just(JobStatus::Failed),
        Just(JobStatus::Cancelled),
        Just(JobStatus::TimedOut),
        Just(JobStatus::Running),
    ]
}

/// Any command about one of a few jobs, with fences that are sometimes right.
fn command() -> impl Strategy<Value = GateCommand> {
    let place = (0..JOBS, 1u64..3, prop_oneof![Just("a"), Just("b"), Just("c"), Just("d")], 0u64..3);
    let with_key = prop_oneof![Just(None), Just(Some("k"))];
    prop_oneof![
        (0..JOBS, with_key, any::<bool>()).prop_map(|(ix, key, partial_results)| {
            accept(ix, key, JobSpec { partial_results, ..sleep_job() })
        }),
        (place.clone(), any::<bool>(), any::<bool>()).prop_map(|((ix, epoch, name, _), clear, other)| {
            let instead = other.then(|| dc("c"));
            GateCommand::TargetsChosen {
                by: by(ix, epoch),
                dc: dc(name),
                clear,
                why: "w".to_string(),
                instead,
            }
        }),
        place
            .clone()
            .prop_map(|(ix, epoch, _, _)| GateCommand::JobQueued { by: by(ix, epoch), why: "w".to_string() }),
        place.clone().prop_map(|(ix, epoch, name, dc_epoch)| {
            GateCommand::DcOwnerSeen { by: by(ix, epoch), at: at(name, dc_epoch) }
        }),
        (place.clone(), 0u16..2, 0u16..3, 1u16..3).prop_map(
            |((ix, epoch, name, dc_epoch), workflow, part, parts)| {
                let bytes = parts_of(&report(workflow, 5), 40);
                let bytes = if parts == 1 {
                    Bytes(minicbor::to_vec(report(workflow, 5)).expect("in memory"))
                } else {
                    bytes[usize::from(part) % bytes.len()].clone()
                };
                let workflow = WorkflowIx(workflow);
                GateCommand::WorkflowDone {
                    by: by(ix, epoch),
                    at: at(name, dc_epoch),
                    workflow,
                    part,
                    parts,
                    bytes,
                }
            }
        ),
        (place.clone(), status()).prop_map(|((ix, epoch, name, dc_epoch), status)| {
            let end = DcEnd { status, cancelled: 1, killed: 2, elapsed_ms: 9 };
            GateCommand::DcFinal { by: by(ix, epoch), at: at(name, dc_epoch), end }
        }),
        place.clone().prop_map(|(ix, epoch, name, _)| {
            GateCommand::DcClear { by: by(ix, epoch), dc: dc(name), why: "w".to_string() }
        }),
        (place.clone(), any::<bool>(), 0u8..3).prop_map(|((ix, epoch, _, _), any_gate, verdict)| {
            let verdict =
                [JobStatus::Cancelled, JobStatus::TimedOut, JobStatus::Failed][usize::from(verdict)];
            let gate_epoch = (!any_gate).then_some(GateEpoch(epoch));
            let reason = "r".to_string();
            GateCommand::StopRecorded { job: job(ix), gate_epoch, verdict, reason, elapsed_ms: 3 }
        }),
        place.clone().prop_map(|(ix, epoch, name, _)| GateCommand::OwnerAssigned {
            jobs: vec![(job(ix), GateEpoch(epoch + 1), gate_id(name))]
        }),
        place
            .clone()
            .prop_map(|(ix, epoch, _, _)| GateCommand::JobFinal { by: by(ix, epoch), why: "w".to_string() }),
        (0..JOBS).prop_map(|ix| GateCommand::ResultDelivered { job: job(ix) }),
        place.prop_map(|(ix, epoch, _, _)| GateCommand::JobReaped { by: by(ix, epoch), keep: 2 }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever is decided: only named rows change, a final status and its result never do, kept events are only added,
    /// a fence never falls, and the rows alone give the state back.
    #[test]
    fn any_sequence_of_commands_keeps_the_laws(commands in proptest::collection::vec(command(), 1..60)) {
        let mut state = GateState::default();
        for (index, command) in commands.into_iter().enumerate() {
            let before = rows(&state);
            let old = state.jobs.clone();
            let changes = apply(&mut state, index as u64 + 1, command);
            let after = rows(&state);
            let keys: BTreeSet<&Vec<u8>> = before.keys().chain(after.keys()).collect();
            for key in keys {
                let changed = before.get(key) != after.get(key);
                prop_assert!(!changed || changes.rows.contains(key), "a row changed unnamed: {:?}", RowName::parse(key));
            }
            for (job, old) in old {
                let Some(new) = state.jobs.get(&job) else {
                    prop_assert!(old.row.status.is_final(), "a job that has not ended was dropped");
                    prop_assert!(state.tombstones.contains_key(&job) || state.tombstones.len() >= 2);
                    continue;
                };
                prop_assert!(new.row.gate_epoch >= old.row.gate_epoch);
                prop_assert_eq!(&new.events[..old.events.len()], &old.events[..]);
                let finals = new.events.iter().filter(|event| **event == Kept::Final).count();
                prop_assert_eq!(finals, usize::from(new.row.status.is_final()));
                if old.row.status.is_final() {
                    prop_assert_eq!(verdict::result(job, new), verdict::result(job, &old));
                }
                if old.row.stop_verdict() == Some(JobStatus::Cancelled) && new.row.status.is_final() {
                    prop_assert_eq!(new.row.status, JobStatus::Cancelled);
                }
                let active = new.row.targets.iter().filter(|target| target.counts()).count();
                prop_assert_eq!(active, usize::from(new.row.slots));
            }
            let mut loaded = GateState::default();
            for (key, bytes) in &after {
                loaded.load_row(key, bytes).expect("a row that was written");
            }
            prop_assert_eq!(&rows(&loaded), &after);
            prop_assert_eq!(&loaded.keys, &state.keys);
            prop_assert_eq!(&loaded.by_owner, &state.by_owner);
            prop_assert_eq!(&loaded.per_tenant, &state.per_tenant);
        }
        // A snapshot without any of it leaves nothing.
        for key in state.keys() {
            state.drop_row(&key);
        }
        state.dropped.clear();
        prop_assert!(state.keys().is_empty() && state.keys.is_empty() && state.by_owner.is_empty());
    }

    #[test]
    fn row_names_survive_their_keys(ix in any::<u8>(), name in "[a-z0-9-]{1,24}", workflow in any::<u16>(), no in any::<u16>()) {
        let place = (dc(&name), WorkflowIx(workflow));
        for row in [
            RowName::Origin(job(ix)),
            RowName::Main(job(ix)),
            RowName::Report(job(ix), place),
            RowName::Part(job(ix), place, no),
            RowName::Event(job(ix), u64::from(no)),
            RowName::Tombstone(job(ix)),
        ] {
            prop_assert_eq!(RowName::parse(&row.key()), Some(row));
        }
    }
}

#[test]
fn a_stale_fence_changes_no_row() {
    let mut state = GateState::default();
    apply(&mut state, 1, accept(0, None, sleep_job()));
    apply(&mut state, 2, GateCommand::OwnerAssigned { jobs: vec![(job(0), GateEpoch(2), gate_id("g1"))] });
    let before = rows(&state);
    let old = [
        GateCommand::DcOwnerSeen { by: by(0, 1), at: at("a", 1) },
        GateCommand::JobFinal { by: by(0, 1), why: String::new() },
        GateCommand::DcClear { by: by(0, 3), dc: dc("a"), why: String::new() },
        GateCommand::OwnerAssigned { jobs: vec![(job(0), GateEpoch(2), gate_id("g2"))] },
        GateCommand::OwnerAssigned { jobs: vec![(job(0), GateEpoch(4), gate_id("g2"))] },
        GateCommand::JobReaped { by: by(0, 2), keep: 9 },
    ];
    for command in old {
        assert_eq!(apply(&mut state, 3, command).rows, BTreeSet::new());
    }
    assert_eq!(rows(&state), before);
}

/// A replica that was away knows the record, and gets the tombstone by snapshot: what is new first, then what goes.
#[test]
fn a_key_outlives_the_record_where_a_snapshot_brings_the_tombstone() {
    let mut ahead = GateState::default();
    apply(&mut ahead, 1, accept(0, Some("k"), sleep_job()));
    let mut behind = ahead.clone();
    apply(&mut ahead, 2, GateCommand::JobFinal { by: by(0, 1), why: String::new() });
    apply(&mut ahead, 3, GateCommand::JobReaped { by: by(0, 1), keep: 9 });
    let (old, new) = (rows(&behind), rows(&ahead));
    for (key, bytes) in &new {
        behind.load_row(key, bytes).expect("a row that was written");
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        behind.drop_row(key);
    }
    assert_eq!(behind.keys, ahead.keys);
    let again = apply(&mut behind, 4, accept(1, Some("k"), sleep_job()));
    assert_eq!(again.rows, BTreeSet::new(), "the key is taken");
}

#[test]
fn a_report_of_many_parts_is_whole_in_any_order_and_leaves_no_parts() {
    let mut state = GateState::default();
    apply(&mut state, 1, accept(0, None, sleep_job()));
    let mut large = report(0, 9);
    large.why = "x".repeat(500);
    let parts = parts_of(&large, 100);
    assert!(parts.len() > 3);
    let count = parts.len() as u16;
    for (part, bytes) in (0..count).zip(parts).rev() {
        assert_eq!(state.jobs[&job(0)].reports.len(), 0, "not before all parts are here");
        let command = GateCommand::WorkflowDone {
            by: by(0, 1),
            at: at("a", 1),
            workflow: WorkflowIx(0),
            part,
            parts: count,
            bytes,
        };
        apply(&mut state, 2, command.clone());
        apply(&mut state, 2, command);
    }
    assert_eq!(*state.jobs[&job(0)].reports[&(dc("a"), WorkflowIx(0))], large);
    assert!(state.jobs[&job(0)].parts.is_empty());
    assert!(!rows(&state).keys().any(|key| matches!(RowName::parse(key), Some(RowName::Part(..)))));
}

#[test]
fn results_beyond_the_bound_keep_their_counters() {
    let mut state = GateState::default();
    apply(&mut state, 1, accept(0, None, sleep_job()));
    state.jobs.get_mut(&job(0)).expect("a record").row.report_bytes = MAX_REPORT_BYTES - 1;
    let bytes = parts_of(&report(0, 9), PART_BYTES).remove(0);
    let command = GateCommand::WorkflowDone {
        by: by(0, 1),
        at: at("a", 1),
        workflow: WorkflowIx(0),
        part: 0,
        parts: 1,
        bytes,
    };
    apply(&mut state, 2, command);
    let kept = &state.jobs[&job(0)].reports[&(dc("a"), WorkflowIx(0))];
    assert_eq!((kept.totals.ok, &kept.totals.latency), (9, &Sketch::default()));
    assert!(kept.why.contains("not kept"), "{}", kept.why);
}

#[test]
fn kept_events_are_bounded_and_the_final_one_has_its_place() {
    let mut state = GateState::default();
    apply(&mut state, 1, accept(0, None, sleep_job()));
    for epoch in 2..2 + MAX_KEPT as u64 {
        let jobs = vec![(job(0), GateEpoch(epoch), gate_id("g1"))];
        apply(&mut state, epoch, GateCommand::OwnerAssigned { jobs });
    }
    let newest = MAX_KEPT as u64 + 1;
    assert_eq!(state.jobs[&job(0)].events.len(), MAX_KEPT - 1);
    apply(&mut state, newest + 1, GateCommand::JobFinal { by: by(0, newest), why: String::new() });
    assert_eq!(state.jobs[&job(0)].events.last(), Some(&Kept::Final));
}

#[test]
fn of_tombstones_the_oldest_go_and_their_keys_with_them() {
    let mut state = GateState::default();
    for ix in 0..3 {
        apply(&mut state, u64::from(ix) * 3 + 1, accept(ix, Some(&ix.to_string()), sleep_job()));
        apply(&mut state, u64::from(ix) * 3 + 2, GateCommand::JobFinal { by: by(ix, 1), why: String::new() });
        apply(&mut state, u64::from(ix) * 3 + 3, GateCommand::JobReaped { by: by(ix, 1), keep: 2 });
    }
    assert_eq!(state.tombstones.keys().copied().collect::<Vec<_>>(), [job(1), job(2)]);
    let keys: Vec<_> = state.keys.keys().map(|(_, key)| key.clone()).collect();
    assert_eq!(keys, ["1", "2"]);
    let again = accept(1, None, sleep_job());
    apply(&mut state, 99, again);
    assert!(state.jobs.is_empty(), "a job that was dropped does not come back");
}
