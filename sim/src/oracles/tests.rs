//! Each of these rules is seen to fire on a history that breaks it, and to be quiet on the nearest one that does not.

use tidegate_core::Node;
use tidegate_core::bytes::Bytes;
use tidegate_core::census::Census;
use tidegate_core::effect::HaltReason;
use tidegate_core::fault::{Fault, FaultCode};
use tidegate_core::id::{
    Attempt, BootNo, DcEpoch, DiskId, GateEpoch, JobId, NodeId, RunId, ShardKey, Term, WorkflowIx,
};
use tidegate_core::jobs::{JobStatus, Outcome, Totals};
use tidegate_core::ledger::{LogBody, LogMessage, LogPos, LogRecord};
use tidegate_core::observe::Observation;
use tidegate_core::store::{Write, table};
use tidegate_core::swim::MemberStatus;
use tidegate_core::wire::{Message, ShardReport};

use super::{answers, bounds, leases, logs, losses, members, old_disks, promises, refusals, suspicions};
use crate::plan::Plan;
use crate::world::{Fact, HostIx, ProcessEnd, Scene, Spectator, World};

const G1: HostIx = 0;
const G2: HostIx = 1;
const M1: HostIx = 3;
const W1: HostIx = 4;
const JOB: JobId = JobId([7; 16]);

fn scene() -> Scene {
    let text = r#"
seed = 1
[cluster]
gates = 3
limits = { event_ring = 4 }
[[cluster.datacenter]]
name = "dc-a"
managers = 1
worker = [{ cores = 2 }]
"#;
    let world = World::<Node>::new(Plan::from_toml(text).expect("it is sound"), Vec::new());
    world.expect("it is sound").scene().clone()
}

/// What an oracle says to a history.
fn judge(oracle: &mut dyn Spectator, scene: &Scene, facts: &[Fact<'_>]) -> Result<(), String> {
    facts.iter().try_for_each(|fact| oracle.see(scene, fact))?;
    oracle.finish(scene)
}

fn log(body: LogBody) -> Message {
    Message::Log(Box::new(LogMessage { boot: BootNo(1), disk: DiskId([1; 16]), body }))
}

fn put(key: &[u8], value: Vec<u8>) -> Vec<Write> {
    vec![Write { key: Bytes(key.to_vec()), value: Some(Bytes(value)) }]
}

fn hard(term: u64, vote: Option<NodeId>) -> Vec<Write> {
    let row = minicbor::to_vec((Term(term), vote, Vec::<NodeId>::new()));
    put(&[table::LEDGER, b'h'], row.expect("into memory"))
}

fn entry(index: u64, term: u64, payload: u8) -> Vec<Write> {
    let record = LogRecord { term: Term(term), payload: Some(Bytes(vec![payload])) };
    let key = [&[table::LOG][..], &index.to_be_bytes()].concat();
    put(&key, minicbor::to_vec(record).expect("into memory"))
}

fn run() -> RunId {
    let dc = scene().hosts[M1].dc;
    let shard = ShardKey { job: JOB, workflow: WorkflowIx(0), dc, shard: 0 };
    RunId { shard, attempt: Attempt(1) }
}

fn said(host: HostIx, observation: &Observation) -> Fact<'_> {
    Fact::Observed { host, observation }
}

fn left(from: HostIx, to: HostIx, message: &Message) -> Fact<'_> {
    Fact::Left { from, to, message }
}

#[test]
fn a_vote_that_is_not_on_the_disk_is_seen() {
    let scene = scene();
    let vote = log(LogBody::VoteReply { term: Term(3), granted: true });
    let judge = |writes: &[Write]| {
        let facts = [Fact::Durable { host: G1, writes }, left(G1, G2, &vote)];
        judge(&mut promises::Promises::default(), &scene, &facts)
    };
    assert_eq!(judge(&hard(3, Some(scene.hosts[G2].node))), Ok(()));
    assert!(judge(&hard(3, Some(scene.hosts[M1].node))).is_err(), "it voted for another");
    assert!(judge(&hard(2, None)).is_err(), "its disk is a term behind");
    assert!(judge(&[]).is_err());
}

#[test]
fn a_confirmed_entry_that_is_not_on_the_disk_is_seen() {
    let scene = scene();
    let last = LogPos { term: Term(1), index: 5 };
    let reply = log(LogBody::AppendReply { term: Term(1), last });
    let term = hard(1, None);
    let judge = |writes: &[Write]| {
        let facts = [
            Fact::Durable { host: G1, writes: &term },
            Fact::Durable { host: G1, writes },
            left(G1, G2, &reply),
        ];
        judge(&mut promises::Promises::default(), &scene, &facts)
    };
    assert_eq!(judge(&entry(5, 1, 0)), Ok(()));
    for wrong in [entry(4, 1, 0), entry(5, 2, 0), Vec::new()] {
        assert!(judge(&wrong).is_err(), "{wrong:?}");
    }
    let given = [Fact::Given { host: G1, writes: &entry(5, 1, 0) }, left(G1, G2, &reply)];
    assert!(
        super::tests::judge(&mut promises::Promises::default(), &scene, &given).is_err(),
        "not durable yet"
    );
}

#[test]
fn a_result_and_a_receipt_before_their_rows_are_seen() {
    let scene = scene();
    let report = ShardReport {
        run: run(),
        outcome: Outcome::Completed,
        totals: Totals::default(),
        why: String::new(),
        start_late_us: 0,
    };
    let result = Message::ShardResult(Box::new(report));
    let mut key = vec![table::OUTBOX];
    key.extend(JOB.0);
    key.extend([0, 0, 0, 0]);
    key.extend(Attempt(1).0.to_be_bytes());
    let row = put(&key, vec![1]);
    let kept = [Fact::Durable { host: W1, writes: &row }, left(W1, M1, &result)];
    assert_eq!(judge(&mut promises::Promises::default(), &scene, &kept), Ok(()));
    assert!(judge(&mut promises::Promises::default(), &scene, &kept[1..]).is_err());

    let ack = Message::WorkflowResultAck {
        job: JOB,
        workflow: WorkflowIx(0),
        dc_epoch: DcEpoch(1),
        stored: Ok(()),
    };
    let mut key = vec![table::STATE, 3];
    key.extend(JOB.0);
    key.extend(b"dc-a");
    key.resize(key.len() + 20, 0);
    key.extend([0, 0]);
    let row = put(&key, vec![1]);
    let in_one_step = [left(G1, M1, &ack), Fact::Given { host: G1, writes: &row }];
    assert_eq!(judge(&mut promises::Promises::default(), &scene, &in_one_step), Ok(()));
    let other = put(&[table::STATE, 1], vec![1]);
    let without = [left(G1, M1, &ack), Fact::Given { host: G1, writes: &other }];
    assert!(judge(&mut promises::Promises::default(), &scene, &without).is_err());

    let ack = Message::DcFinalAck { job: JOB, dc_epoch: DcEpoch(1), stored: Ok(()) };
    let dc = scene.hosts[M1].dc;
    let in_log = Observation::DcFinal { job: JOB, dc, status: JobStatus::Completed };
    let said = [Fact::Observed { host: G2, observation: &in_log }, left(G1, M1, &ack)];
    assert_eq!(judge(&mut promises::Promises::default(), &scene, &said), Ok(()));
    assert!(judge(&mut promises::Promises::default(), &scene, &said[1..]).is_err());
}

#[test]
fn two_committed_entries_at_one_place_are_seen() {
    let scene = scene();
    let append = |term| {
        let prev = LogPos::default();
        log(LogBody::Append { term: Term(term), commit: 1, prev, entries: Vec::new(), checkpoint: None })
    };
    let (first, second) = (append(1), append(2));
    let one = entry(1, 1, 1);
    let judge = |two: &[Write]| {
        let facts = [
            Fact::Durable { host: G1, writes: &one },
            left(G1, G2, &first),
            Fact::Durable { host: G2, writes: two },
            left(G2, G1, &second),
        ];
        judge(&mut logs::Logs::default(), &scene, &facts)
    };
    assert_eq!(judge(&entry(1, 1, 1)), Ok(()));
    assert!(judge(&entry(1, 1, 2)).is_err(), "the same term, another payload");
    assert!(judge(&entry(1, 2, 1)).is_err(), "another term");
    let replaced = [
        Fact::Durable { host: G1, writes: &one },
        left(G1, G2, &first),
        Fact::Durable { host: G1, writes: &entry(1, 3, 9) },
    ];
    assert!(super::tests::judge(&mut logs::Logs::default(), &scene, &replaced).is_err());
}

#[test]
fn a_lower_fence_that_is_accepted_is_seen() {
    let scene = scene();
    let reply = |fence| Message::StopInDcReply { job: JOB, gate_epoch: GateEpoch(fence), recorded: Ok(()) };
    let (low, high) = (reply(1), reply(2));
    let mut answers = answers::Answers::default();
    assert_eq!(judge(&mut answers, &scene, &[left(M1, G1, &low), left(M1, G1, &high)]), Ok(()));
    assert_eq!(answers.tested(), 1);
    assert!(judge(&mut answers, &scene, &[left(M1, G1, &low)]).is_err());
}

#[test]
fn an_owner_after_the_end_of_its_lease_is_seen() {
    let scene = scene();
    let ended = Observation::LeaseEnded(scene.hosts[G1].node);
    let owner = |gate_epoch, owner: HostIx| Observation::JobOwner {
        job: JOB,
        gate_epoch: GateEpoch(gate_epoch),
        owner: scene.hosts[owner].node,
    };
    let (first, second) = (owner(1, G1), owner(2, G2));
    let stop = Message::StopInDc { job: JOB, gate_epoch: GateEpoch(1), verdict: JobStatus::Cancelled };
    let judge = |last: &Observation| {
        let facts = [
            said(G1, &Observation::Active),
            said(G1, &first),
            said(G2, &ended),
            said(G2, &second),
            said(G1, last),
            left(G1, M1, &stop),
        ];
        judge(&mut leases::Leases::default(), &scene, &facts)
    };
    assert!(judge(&Observation::Refuted).is_err());
    assert_eq!(judge(&Observation::Isolated), Ok(()), "it knows; what it sends rests on something else");
    assert_eq!(judge(&Observation::Draining), Ok(()), "it hands over");
}

#[test]
fn a_view_that_stays_wrong_is_seen() {
    let mut scene = scene();
    scene.healed = true;
    scene.running = vec![true; scene.nodes];
    let node = scene.hosts[G2].node;
    let judge = |scene: &Scene, status| {
        let word = Observation::Member { node, status };
        let mut members = members::Members::default();
        members.see(scene, &Fact::Observed { host: G1, observation: &word })?;
        let mut later = scene.clone();
        later.now = 100_000_000_000;
        members.finish(&later)
    };
    assert_eq!(judge(&scene, MemberStatus::Alive), Ok(()));
    assert!(judge(&scene, MemberStatus::Dead).is_err());
    scene.running[G2] = false;
    assert_eq!(judge(&scene, MemberStatus::Dead), Ok(()));
    assert!(judge(&scene, MemberStatus::Alive).is_err());
}

#[test]
fn a_refusal_that_nobody_counts_is_seen() {
    let scene = scene();
    let fault = Fault::new(FaultCode::NotOwner, "another gate owns the job");
    let ack = Message::DcFinalAck { job: JOB, dc_epoch: DcEpoch(1), stored: Err(fault) };
    let counted = Observation::Refused(FaultCode::NotOwner);
    let facts = [left(G1, M1, &ack), Fact::Observed { host: G1, observation: &counted }];
    assert_eq!(judge(&mut refusals::Refusals::default(), &scene, &facts), Ok(()));
    assert!(judge(&mut refusals::Refusals::default(), &scene, &facts[..1]).is_err());
    let other = Observation::Refused(FaultCode::NotReady);
    let facts = [left(G1, M1, &ack), Fact::Observed { host: G1, observation: &other }];
    assert!(judge(&mut refusals::Refusals::default(), &scene, &facts).is_err(), "another code");
}

#[test]
fn a_node_that_holds_too_much_is_seen() {
    let scene = scene();
    let judge = |holds: Census| {
        judge(&mut bounds::Bounds::default(), &scene, &[Fact::Looked { host: G1, holds: &holds }])
    };
    assert_eq!(judge(Census { volatile: 4, leases: 3, ..Census::default() }), Ok(()));
    assert!(judge(Census { volatile: 5, ..Census::default() }).is_err());
    assert!(judge(Census { leases: 4, ..Census::default() }).is_err());
    assert!(judge(Census { timers: 1_000_000, ..Census::default() }).is_err());
}

/// What an oracle says to a history and then, so many seconds later, to anything at all.
fn judge_late(oracle: &mut dyn Spectator, facts: &[Fact<'_>], seconds: u64) -> Result<(), String> {
    let mut scene = scene();
    scene.runs.insert(run(), W1);
    judge(oracle, &scene, facts)?;
    scene.now = seconds * 1_000_000_000;
    oracle.see(&scene, &said(W1, &Observation::Refuted))
}

#[test]
fn a_suspicion_without_an_end_is_seen() {
    let worker = scene().hosts[W1].node;
    let suspected = Observation::WorkerSuspected { job: JOB, worker };
    let dead = Observation::WorkerDeadForJob { job: JOB, worker };
    let judge =
        |facts: &[Fact<'_>], seconds| judge_late(&mut suspicions::Suspicions::default(), facts, seconds);
    assert_eq!(judge(&[said(M1, &suspected)], 5), Ok(()), "there is time");
    assert!(judge(&[said(M1, &suspected)], 20).is_err());
    assert_eq!(judge(&[said(M1, &suspected), said(M1, &dead)], 20), Ok(()));
    let cut = Fact::Fault { fault: 0, kind: "cut", host: W1 };
    assert_eq!(judge(&[cut, said(M1, &suspected)], 20), Ok(()), "it may end without a word");
}

#[test]
fn an_old_disk_that_nobody_refuses_is_seen() {
    let [first, second] = [1, 2].map(|boot| Fact::Began { host: G1, boot });
    let mut new = scene();
    new.boots[G1] = 2;
    let judge = |facts: &[Fact<'_>], seconds| {
        let mut oracle = old_disks::OldDisks::default();
        judge(&mut oracle, &new, &[said(G1, &Observation::Active)])?;
        judge_late(&mut oracle, facts, seconds)
    };
    assert!(judge(&[first], 30).is_err());
    assert_eq!(judge(&[second], 30), Ok(()), "it is the newest");
    let ended = Fact::Ended { host: G1, end: ProcessEnd::Halt(HaltReason::OldDisk) };
    let first = || Fact::Began { host: G1, boot: 1 };
    assert_eq!(judge(&[first(), ended], 30), Ok(()));
    let other = Fact::Fault { fault: 0, kind: "freeze", host: G2 };
    assert_eq!(judge(&[other, first()], 30), Ok(()), "who knows better may be absent");
}

#[test]
fn an_orphan_that_goes_on_is_seen() {
    let orphaned = Observation::Orphaned(run().into());
    let judge = |facts: &[Fact<'_>], seconds| judge_late(&mut losses::Losses::default(), facts, seconds);
    assert_eq!(judge(&[said(W1, &orphaned)], 10), Ok(()), "a stop takes time");
    assert!(judge(&[said(W1, &orphaned)], 30).is_err());
    let frozen = Fact::Fault { fault: 0, kind: "freeze", host: W1 };
    assert_eq!(judge(&[frozen, said(W1, &orphaned)], 30), Ok(()), "it is frozen for ever");
}
