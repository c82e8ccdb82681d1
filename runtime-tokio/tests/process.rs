//! The program as an operator meets it: what it says, and how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn tidegate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate")).args(args).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A first port such that `count` ports from it on are free, as far as that can be known.
fn free_ports(count: u16) -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let all = (first..first.saturating_add(count)).map(|port| TcpListener::bind(("127.0.0.1", port)));
        if first < 65_000 && all.collect::<Result<Vec<_>, _>>().is_ok() {
            return first;
        }
    }
}

/// A cluster's files: one gate, one datacenter, one manager, one worker.
struct Files {
    _dir: tempfile::TempDir,
    root: PathBuf,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("cluster");
        let port = free_ports(4).to_string();
        let made = tidegate(&[
            "init",
            root.to_str().unwrap(),
            "--datacenters=1",
            "--workers=1",
            "--first-port",
            &port,
        ]);
        assert!(made.status.success(), "{}", said(&made));
        Self { _dir: dir, root }
    }

    fn config(&self, node: &str) -> PathBuf {
        self.root.join(node).join("node.toml")
    }

    fn edit(&self, node: &str, from: &str, to: &str) {
        let path = self.config(node);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    fn run(&self, role: &str, node: &str) -> Output {
        tidegate(&[role, "--config", self.config(node).to_str().unwrap()])
    }
}

/// A running node; killed when dropped.
struct Node {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
}

impl Node {
    fn start(role: &str, config: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args([role, "--config", config.to_str().unwrap()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        let mut node = Self { child, lines };
        node.until("started");
        node
    }

    /// Reads the log up to a line with this in it.
    fn until(&mut self, wanted: &str) {
        let mut log = String::new();
        loop {
            let begin = log.len();
            assert!(self.lines.read_line(&mut log).unwrap() > 0, "the log ended without {wanted:?}:\n{log}");
            if log[begin..].contains(wanted) {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn ended(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.lines.read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn init_refuses_what_exists() {
    let files = Files::new();
    let again = tidegate(&["init", files.root.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(2));
    assert!(said(&again).contains("init never overwrites"), "{}", said(&again));
}

#[test]
fn a_bad_configuration_is_shown_where_it_stands() {
    let files = Files::new();
    files.edit("gate-1", "data_dir", "date_dir");
    let output = files.run("gate", "gate-1");
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("node.toml:4:1: unknown field `date_dir`"), "{}", said(&output));
    let missing = tidegate(&["gate", "--config", "/nowhere/node.toml"]);
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn a_certificate_of_another_node_is_refused() {
    let files = Files::new();
    files.edit("gate-1", "certificate = \"node.pem\"", "certificate = \"../dc-1-worker-1/node.pem\"");
    files.edit("gate-1", "key = \"node.key\"", "key = \"../dc-1-worker-1/node.key\"");
    let output = files.run("gate", "gate-1");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("is for tidegate://local/worker/dc-1/worker-1"), "{}", said(&output));
}

#[test]
fn a_missing_gossip_key_is_refused() {
    let files = Files::new();
    fs::remove_file(files.root.join("gossip.key")).unwrap();
    let output = files.run("gate", "gate-1");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("gossip.key"), "{}", said(&output));
}

#[test]
fn a_second_process_of_a_node_is_refused_by_its_port_and_by_its_disk() {
    let files = Files::new();
    let _first = Node::start("gate", &files.config("gate-1"));
    let second = files.run("gate", "gate-1");
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains("another process uses the port"), "{}", said(&second));
    // On another port, it meets the first one's disk.
    let config = fs::read_to_string(files.config("gate-1")).unwrap();
    let line = config.lines().find(|line| line.starts_with("listen")).unwrap().to_owned();
    files.edit("gate-1", &line, "listen = \"127.0.0.1:0\"");
    let second = files.run("gate", "gate-1");
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains("another process has it open"), "{}", said(&second));
}

#[test]
fn a_data_folder_that_cannot_be_written_is_refused() {
    let files = Files::new();
    let data = files.root.join("gate-1/data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(data.join("probe"), "").is_ok() {
        // Permissions do not bind the superuser: a file in the folder's place does.
        fs::remove_file(data.join("probe")).unwrap();
        fs::remove_dir(&data).unwrap();
        fs::write(&data, "").unwrap();
    }
    let output = files.run("gate", "gate-1");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("cannot use") && said(&output).contains("gate-1/data"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_disk_that_takes_no_more_ends_the_node_with_a_clear_word() {
    let files = Files::new();
    let config = files.config("gate-1");
    // The shell limits the size of the process's files; a write beyond the limit fails as it does on a full disk.
    let limited = "trap '' XFSZ; ulimit -f 64; exec \"$0\" gate --config \"$1\"";
    let output = Command::new("bash")
        .args(["-c", limited, env!("CARGO_BIN_EXE_tidegate"), config.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("cannot use") && said(&output).contains("node.redb"), "{}", said(&output));
}

#[test]
fn sigterm_drains() {
    let files = Files::new();
    let gate = Node::start("gate", &files.config("gate-1"));
    gate.signal(Signal::TERM);
    let (code, log) = gate.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("ended"), "{log}");
}
