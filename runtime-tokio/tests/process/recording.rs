//! `--record`: the lives of real processes, replayed from their files.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use tidegate::demo::Demo;

use super::support::{Cluster, Node, Run, TIDEGATE, alone, said, tidegate};

/// The steps of a recording, which must replay to the same effects.
fn replayed(file: &str) -> u64 {
    let output = tidegate(&["replay", file]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{file}: {text}{}", said(&output));
    let (steps, rest) = text.split_once(' ').unwrap();
    assert!(rest.starts_with("steps gave the recorded effects"), "{text}");
    steps.parse().unwrap()
}

#[test]
fn every_process_of_a_job_replays_to_the_same_effects_also_one_that_was_killed() {
    let _alone = alone();
    let cluster = Cluster::new(1, 1, 1, 2).with_short_waits();
    let record = |name: &str| cluster.root().join(format!("{name}.record")).to_str().unwrap().to_owned();
    let start = |role: &str, name: &str| {
        let mut command = Command::new(TIDEGATE);
        command.arg(role).arg("--config").arg(cluster.config(name)).args(["--record", &record(name)]);
        let node = Node::spawn(&mut command);
        node.until("started");
        node
    };
    let names = ["gate-1", "dc-1-manager-1", "dc-1-worker-1", "dc-1-worker-2"];
    let [gate, manager, worker, victim] =
        [("gate", names[0]), ("manager", names[1]), ("worker", names[2]), ("worker", names[3])]
            .map(|(role, name)| start(role, name));
    cluster.assembled(1);

    let target = Demo::start().unwrap();
    let file = cluster.root().join("job.toml");
    let text = "version = 1\nname = \"recorded\"\non_worker_loss = \"degrade\"\n[[workflow]]\nname = \"load\"\n\
                [workflow.http]\nvus = 4\nduration = \"4s\"\nrequests = [{ url = \"{{target}}/slow?ms=20\" }]\n";
    fs::write(&file, text).unwrap();
    let mut run = Run::at(&cluster, &file, &target);
    run.until_requests(100);
    drop(victim);
    let ended = run.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for node in [worker, manager, gate] {
        node.signal(Signal::TERM);
        let (code, log) = node.ended();
        assert_eq!(code, Some(0), "{log}");
    }
    for name in names {
        assert!(replayed(&record(name)) > 0, "{name}");
    }
    // A job went through the recorded lives, that of the killed worker too.
    for (name, words) in
        [("gate-1", ["Submit", "JobFinal"]), ("dc-1-worker-2", ["RunStarted", "ShardProgress"])]
    {
        let trace = tidegate(&["replay", &record(name), "--trace"]);
        let trace = String::from_utf8_lossy(&trace.stdout).into_owned();
        for word in words {
            assert!(trace.contains(word), "the life of {name} has no {word} in it:\n{trace}");
        }
    }
    // Recordings are never overwritten, and a changed one is caught.
    let again = tidegate(&[
        "gate",
        "--config",
        cluster.config("gate-1").to_str().unwrap(),
        "--record",
        &record("gate-1"),
    ]);
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("cannot record to"), "{}", said(&again));
    let mut bytes = fs::read(record("gate-1")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(record("gate-1"), bytes).unwrap();
    let changed = tidegate(&["replay", &record("gate-1")]);
    assert_eq!(changed.status.code(), Some(1), "{}", said(&changed));
    assert!(said(&changed).contains("differs from the recording"), "{}", said(&changed));
}
