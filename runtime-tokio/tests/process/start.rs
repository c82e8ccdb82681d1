//! The start and the end of one node: what is refused, how, and with which exit code.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use rustix::process::Signal;

use super::support::{Cluster, Node, TIDEGATE, alone, said, tidegate};

/// One gate, one datacenter, one manager, one worker; nothing is started.
fn small() -> Cluster {
    Cluster::new(1, 1, 1, 1)
}

/// Runs a node that must not start.
fn refused(cluster: &Cluster, role: &str, node: &str) -> Output {
    tidegate(&[role, "--config", cluster.config(node).to_str().unwrap()])
}

#[test]
fn init_refuses_what_exists() {
    let cluster = small();
    let again = tidegate(&["init", cluster.root().to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(2));
    assert!(said(&again).contains("init never overwrites"), "{}", said(&again));
}

#[test]
fn a_bad_configuration_is_shown_where_it_stands() {
    let cluster = small();
    cluster.edit("gate-1", "data_dir", "date_dir");
    let output = refused(&cluster, "gate", "gate-1");
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("node.toml:4:1: unknown field `date_dir`"), "{}", said(&output));
    let missing = tidegate(&["gate", "--config", "/nowhere/node.toml"]);
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn a_certificate_of_another_node_is_refused() {
    let cluster = small();
    cluster.edit("gate-1", "certificate = \"node.pem\"", "certificate = \"../dc-1-worker-1/node.pem\"");
    cluster.edit("gate-1", "key = \"node.key\"", "key = \"../dc-1-worker-1/node.key\"");
    let output = refused(&cluster, "gate", "gate-1");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("is for tidegate://local/worker/dc-1/worker-1"), "{}", said(&output));
}

#[test]
fn a_missing_gossip_key_is_refused() {
    let cluster = small();
    fs::remove_file(cluster.root().join("gossip.key")).unwrap();
    let output = refused(&cluster, "gate", "gate-1");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("gossip.key"), "{}", said(&output));
}

#[test]
fn a_second_process_of_a_node_is_refused_by_its_port_and_by_its_disk() {
    let cluster = small();
    let _first = Node::start("gate", &cluster.config("gate-1"));
    let second = refused(&cluster, "gate", "gate-1");
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains("another process uses the port"), "{}", said(&second));
    // On another port, it meets the first one's disk.
    let config = fs::read_to_string(cluster.config("gate-1")).unwrap();
    let line = config.lines().find(|line| line.starts_with("listen")).unwrap().to_owned();
    cluster.edit("gate-1", &line, "listen = \"127.0.0.1:0\"");
    let second = refused(&cluster, "gate", "gate-1");
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains("another process has it open"), "{}", said(&second));
}

#[test]
fn a_data_folder_that_cannot_be_written_is_refused() {
    let cluster = small();
    let data = cluster.root().join("gate-1/data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(data.join("probe"), "").is_ok() {
        // Permissions do not bind the superuser: a file in the folder's place does.
        fs::remove_file(data.join("probe")).unwrap();
        fs::remove_dir(&data).unwrap();
        fs::write(&data, "").unwrap();
    }
    let output = refused(&cluster, "gate", "gate-1");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("cannot use") && said(&output).contains("gate-1/data"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_disk_that_takes_no_more_ends_the_node_with_a_clear_word() {
    let cluster = small();
    let config = cluster.config("gate-1");
    // The shell limits the size of the process's cluster; a write beyond the limit fails as it does on a full disk.
    let limited = "trap '' XFSZ; ulimit -f 64; exec \"$0\" gate --config \"$1\"";
    let output =
        Command::new("bash").args(["-c", limited, TIDEGATE, config.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("cannot use") && said(&output).contains("node.redb"), "{}", said(&output));
}

#[test]
fn sigterm_drains() {
    let cluster = small();
    let gate = Node::start("gate", &cluster.config("gate-1"));
    gate.signal(Signal::TERM);
    let (code, log) = gate.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("ended"), "{log}");
}

#[test]
fn an_api_that_others_can_reach_needs_tls_and_tokens() {
    let cluster = small();
    let config = fs::read_to_string(cluster.config("gate-1")).unwrap();
    let api = config.split("[api]\n").nth(1).unwrap().lines().next().unwrap().to_owned();
    cluster.edit("gate-1", &api, "listen = \"0.0.0.0:0\"");
    let output = refused(&cluster, "gate", "gate-1");
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("it needs certificate, key and at least one token"), "{}", said(&output));
}

#[test]
fn a_node_of_another_cluster_is_denied_and_both_sides_say_so() {
    let _alone = alone();
    let (cluster, other) = (small(), small());
    let gate = Node::start("gate", &cluster.config("gate-1"));
    // The stranger's manager believes that its gate is ours.
    let address = |of: &Cluster| {
        let text = fs::read_to_string(of.config("gate-1")).unwrap();
        text.lines().find(|line| line.starts_with("address")).unwrap().to_owned()
    };
    other.edit("dc-1-manager-1", &address(&other), &address(&cluster));
    let manager = Node::start("manager", &other.config("dc-1-manager-1"));
    manager.until("no secure connection");
    gate.until("no secure connection");
}

/// A job file of about 40 KB, so that a small disk is soon full.
fn large_job(number: usize) -> String {
    let body = "x".repeat(40_000);
    format!(
        "version = 1\nname = \"job {number}\"\n[[workflow]]\nname = \"w\"\n[workflow.http]\nvus = 1\n\
         duration = \"1s\"\nrequests = [{{ url = \"http://127.0.0.1:9/\", method = \"POST\", body = \"{body}\" }}]\n"
    )
}

#[test]
fn a_disk_that_fills_up_ends_the_gate_and_nothing_that_was_acknowledged_is_lost() {
    let _alone = alone();
    let mut cluster = small();
    cluster.start("dc-1-manager-1");
    cluster.start("dc-1-worker-1");
    // Room to start, and for some jobs: the shell limits the size of files (in KiB), and a write beyond fails.
    let limited = "trap '' XFSZ; ulimit -f 4096; exec \"$0\" gate --config \"$1\"";
    let config = cluster.config("gate-1");
    let mut command = Command::new("bash");
    command.args(["-c", limited, TIDEGATE, config.to_str().unwrap()]);
    let gate = Node::spawn(&mut command);
    gate.until("started");
    cluster.assembled(1);
    let http = cluster.gate(1);
    let toml = [("Content-Type", "application/toml")];
    let mut taken = Vec::new();
    while let Some(answer) = http.try_send("POST", "/v1/jobs", &toml, large_job(taken.len()).as_bytes()) {
        if answer.status != 201 {
            break;
        }
        taken.push(answer.json()["job"].as_str().unwrap().to_owned());
        assert!(taken.len() < 1_000, "4 MiB hold 40 MB");
    }
    let (code, log) = gate.ended();
    assert_eq!(code, Some(10), "{log}");
    assert!(log.contains("the disk failed") && log.contains("a durable write failed"), "{log}");
    assert!(!taken.is_empty());
    // With room again, it knows every job that it took.
    cluster.start("gate-1");
    cluster.assembled(1);
    for job in taken {
        let answer = http.get(&format!("/v1/jobs/{job}"));
        assert_eq!(answer.status, 200, "{job}: {}", answer.text());
    }
}
