//! Processes that are killed, stopped and started again in the middle of a job: there is one final result, it is right,
//! and the client goes on by itself.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;
use tidegate::demo::Demo;
use tidegate_core::api::ClientEventKind;
use tidegate_core::id::JobId;
use tidegate_core::jobs::JobStatus;

use super::support::{Cluster, Ended, Run, alone};

/// Virtual users of the job, over two datacenters.
const VUS: f64 = 8.0;
/// A request takes at least so long, so a virtual user sends at most so many a second.
const WAIT_MS: u64 = 20;
/// So many requests in, the job runs everywhere and is far from its end.
const UNDER_WAY: u64 = 200;

fn job(cluster: &Cluster, seconds: u32) -> PathBuf {
    let path = cluster.root().join("job.toml");
    let text = format!(
        "version = 1\nname = \"steady\"\ndatacenters = \"any\"\ntimeout = \"3m\"\n\
         [[workflow]]\nname = \"load\"\n[workflow.http]\nvus = {VUS}\nduration = \"{seconds}s\"\n\
         requests = [{{ url = \"{{{{target}}}}/slow?ms={WAIT_MS}\" }}]\n"
    );
    fs::write(&path, text).unwrap();
    path
}

/// A job on two datacenters, three managers each.
fn wide(cluster: &Cluster, seconds: u32) -> PathBuf {
    let path = job(cluster, seconds);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"any\"", "{ count = 2 }")).unwrap();
    path
}

fn full() -> Cluster {
    let mut cluster = Cluster::new(3, 2, 3, 2).with_short_waits();
    cluster.start_all();
    cluster
}

/// The owner of a job in a datacenter, by the newest event about it.
fn manager_of(cluster: &Cluster, run: &Run, wanted: &str) -> String {
    let owner = run.events.iter().rev().find_map(|event| match &event.kind {
        ClientEventKind::DcOwner { dc, owner, .. } if dc.as_str() == wanted => Some(*owner),
        _ => None,
    });
    cluster.name_of(owner.unwrap_or_else(|| panic!("nobody owns the job in {wanted}: {:?}", run.events)))
}

/// The gate that owns a job, as the gates say.
fn gate_of(cluster: &Cluster, job: JobId) -> String {
    let view = cluster.gate(1).get(&format!("/v1/jobs/{job}")).json();
    let owner = view["owner"].as_str().unwrap_or_else(|| panic!("{view}"));
    cluster.name_of(owner.parse().unwrap())
}

/// The job completed once, every gate says the same of it, and what it says adds up.
fn check_whole(cluster: &Cluster, ended: &Ended, seconds: u32) {
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let positions: Vec<_> = ended.events.iter().map(|event| event.pos).collect();
    assert!(positions.is_sorted_by(|one, next| one < next), "{positions:?}");
    let (report, result) = (ended.report(), ended.result());
    assert_eq!(result.status, JobStatus::Completed, "{result:?}");
    assert_eq!(report.result, *result);
    let total = &report.total;
    assert_eq!((total.ok, total.errors), (total.requests, 0), "{:?}", total.errors_by_kind);
    assert_eq!(total.latency.as_ref().unwrap().count, total.requests);
    let (load, wanted) = (&total.load, VUS * f64::from(seconds));
    assert!((load.requested_vu_s - wanted).abs() < 0.1, "{load:?}");
    assert!((load.delivered_vu_s + load.uncovered_vu_s - wanted).abs() < 0.1, "{load:?}");
    let written: Value = serde_json::to_value(&report).unwrap();
    for gate in cluster.gates() {
        let answer = gate.get(&format!("/v1/jobs/{}/result", result.job));
        assert_eq!((answer.status, &answer.json()), (200, &written), "{}", gate.url());
    }
}

/// Nothing of the load was lost, and every request that the target answered is in the result, once.
fn check_exact(ended: &Ended, target: &Demo) {
    let total = ended.report().total;
    assert_eq!(total.requests, target.served(), "{total:?}");
    assert_eq!(total.load.uncovered_vu_s, 0.0, "{total:?}");
}

#[test]
fn a_killed_worker_is_replaced_and_the_result_says_what_was_lost() {
    let _alone = alone();
    let (mut cluster, target, seconds) = (full(), Demo::start().unwrap(), 12);
    let file = wide(&cluster, seconds);
    let mut run = Run::at(&cluster, &file, &target);
    run.until_requests(UNDER_WAY);
    cluster.kill("dc-1-worker-1");
    // Its part runs again on the other worker, while there is still something of it to run.
    cluster.node("dc-1-worker-2").until_times("RunStarted", 2);
    let ended = run.ended();
    check_whole(&cluster, &ended, seconds);
    let total = ended.report().total;
    assert!(total.load.uncovered_vu_s > 0.0, "{total:?}");
    // What the target answered beyond the report falls into the time that the report says it does not cover, but for
    // the requests in flight at its two ends.
    let most = total.load.uncovered_vu_s * 1_000.0 / WAIT_MS as f64 + 2.0 * VUS;
    let beyond = target.served().checked_sub(total.requests).expect("nothing is counted twice");
    assert!(beyond as f64 <= most, "{beyond} beyond {total:?}");
}

#[test]
fn a_killed_manager_loses_nothing() {
    let _alone = alone();
    let (mut cluster, target, seconds) = (full(), Demo::start().unwrap(), 5);
    let file = wide(&cluster, seconds);
    let mut run = Run::at(&cluster, &file, &target);
    run.until_requests(UNDER_WAY);
    let manager = manager_of(&cluster, &run, "dc-1");
    cluster.kill(&manager);
    let taken = run.until(|kind| match kind {
        ClientEventKind::DcOwner { dc, dc_epoch, .. } if dc.as_str() == "dc-1" => Some(dc_epoch.0),
        _ => None,
    });
    assert_eq!(taken, 2);
    assert_ne!(manager_of(&cluster, &run, "dc-1"), manager);
    let ended = run.ended();
    check_whole(&cluster, &ended, seconds);
    check_exact(&ended, &target);
}

#[test]
fn a_killed_gate_loses_nothing_and_the_client_goes_on() {
    let _alone = alone();
    let (mut cluster, target, seconds) = (full(), Demo::start().unwrap(), 5);
    let file = wide(&cluster, seconds);
    let mut run = Run::at(&cluster, &file, &target);
    let job = run.job();
    run.until_requests(UNDER_WAY);
    let gate = gate_of(&cluster, job);
    cluster.kill(&gate);
    let (owner, epoch) = run.until(|kind| match kind {
        ClientEventKind::Owner { owner, gate_epoch } => Some((*owner, gate_epoch.0)),
        _ => None,
    });
    assert_eq!(epoch, 2);
    assert_ne!(cluster.name_of(owner), gate);
    let ended = run.ended();
    // The killed gate says the same once it is back.
    cluster.start(&gate);
    cluster.assembled(gate.strip_prefix("gate-").unwrap().parse().unwrap());
    check_whole(&cluster, &ended, seconds);
    check_exact(&ended, &target);
}

#[test]
fn a_manager_and_a_gate_without_a_second_are_waited_for() {
    let _alone = alone();
    let mut cluster = Cluster::new(1, 1, 1, 2).with_short_waits();
    cluster.start_all();
    let (target, seconds) = (Demo::start().unwrap(), 5);
    let file = job(&cluster, seconds);
    let mut run = Run::at(&cluster, &file, &target);
    let job = run.job();
    run.until_requests(UNDER_WAY);
    cluster.kill("dc-1-manager-1");
    // The workers finish and keep what they have; nobody can take it.
    cluster.node("dc-1-worker-1").until("RunEnded");
    cluster.node("dc-1-worker-2").until("RunEnded");
    assert_eq!(cluster.gate(1).get(&format!("/v1/jobs/{job}")).json()["status"], "running");
    // With the gate gone too, the client has nobody to ask; it goes on when both are back.
    cluster.kill("gate-1");
    cluster.start("dc-1-manager-1");
    cluster.start("gate-1");
    let ended = run.ended();
    check_whole(&cluster, &ended, seconds);
    check_exact(&ended, &target);
}

#[test]
fn two_managers_wait_for_the_one_that_was_killed() {
    let _alone = alone();
    let mut cluster = Cluster::new(1, 1, 3, 1).with_short_waits();
    leave_out_the_third_manager(&cluster);
    for node in ["gate-1", "dc-1-manager-1", "dc-1-manager-2", "dc-1-worker-1"] {
        cluster.start(node);
    }
    cluster.assembled(1);
    let (target, seconds) = (Demo::start().unwrap(), 4);
    let file = job(&cluster, seconds);
    let mut run = Run::at(&cluster, &file, &target);
    let job = run.job();
    run.until_requests(UNDER_WAY);
    let manager = manager_of(&cluster, &run, "dc-1");
    cluster.kill(&manager);
    cluster.node("dc-1-worker-1").until("RunEnded");
    assert_eq!(cluster.gate(1).get(&format!("/v1/jobs/{job}")).json()["status"], "running");
    cluster.start(&manager);
    let ended = run.ended();
    check_whole(&cluster, &ended, seconds);
    check_exact(&ended, &target);
}

/// `init` makes no tier of two, since the loss of either stops it; an operator may.
fn leave_out_the_third_manager(cluster: &Cluster) {
    for node in cluster.nodes() {
        let text = fs::read_to_string(cluster.config(&node)).unwrap();
        let begin = text.find("\n[[datacenters.managers]]\nname = \"manager-3\"").unwrap();
        let line = text[begin..].find("address = ").unwrap() + begin;
        let end = text[line..].find('\n').unwrap() + line + 1;
        let text = format!("allow_two_voters = true\n{}{}", &text[..begin], &text[end..]);
        fs::write(cluster.config(&node), text).unwrap();
    }
}

#[test]
fn a_worker_a_manager_and_a_gate_are_drained_in_one_job() {
    let _alone = alone();
    let (mut cluster, target, seconds) = (full(), Demo::start().unwrap(), 8);
    let file = wide(&cluster, seconds);
    let mut run = Run::at(&cluster, &file, &target);
    let job = run.job();
    run.until_requests(UNDER_WAY);
    let leaving = ["dc-2-worker-1".to_owned(), manager_of(&cluster, &run, "dc-1"), gate_of(&cluster, job)];
    let leaving = leaving.map(|name| cluster.take(&name));
    leaving.iter().for_each(|node| node.signal(Signal::TERM));
    let ended = run.ended();
    for node in leaving {
        let (code, log) = node.ended();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("ended: drained"), "{log}");
    }
    let handed_over = |kind: &ClientEventKind| match kind {
        ClientEventKind::DcOwner { dc, dc_epoch, .. } => dc.as_str() == "dc-1" && dc_epoch.0 == 2,
        _ => false,
    };
    assert!(ended.events.iter().any(|event| handed_over(&event.kind)), "{:?}", ended.events);
    check_exact(&ended, &target);
    assert_eq!(ended.result().status, JobStatus::Completed);
}
