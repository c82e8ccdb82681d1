//! A cluster's folder, and the processes that run from it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use tidegate_core::id::{DcId, NodeId, Role};

use super::{Http, Node, PATIENCE, free_ports, said, tidegate};

/// A tier's lease and everybody's probes, short enough to see a takeover within seconds.
const SHORT_WAITS: &str = r#"
[timing]
swim_period = "250ms"
swim_probe_timeout = "120ms"
log_tick = "200ms"
leader_silence = "1s"
lease_ttl = "3s"
lease_renew = "900ms"
dc_heartbeat = "1s"
backoff_base = "200ms"

[log]
filter = "info,tidegate::node=debug"
"#;

/// A cluster: its files, and those of its nodes that run.
pub struct Cluster {
    _dir: tempfile::TempDir,
    root: PathBuf,
    gates: u16,
    datacenters: u16,
    workers: u16,
    first_port: u16,
    running: BTreeMap<String, Node>,
}

impl Cluster {
    /// Makes the files of a cluster; starts nothing.
    pub fn new(gates: u16, datacenters: u16, managers: u16, workers: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("cluster");
        let first_port = free_ports(2 * gates + datacenters * (managers + workers));
        let option = |name: &str, value: u16| format!("--{name}={value}");
        let made = tidegate(&[
            "init",
            root.to_str().unwrap(),
            &option("gates", gates),
            &option("datacenters", datacenters),
            &option("managers", managers),
            &option("workers", workers),
            &option("first-port", first_port),
        ]);
        assert!(made.status.success(), "{}", said(&made));
        let running = BTreeMap::new();
        Self { _dir: dir, root, gates, datacenters, workers, first_port, running }
    }

    /// Makes waits short, in the files of all nodes.
    pub fn with_short_waits(self) -> Self {
        for node in self.nodes() {
            let path = self.config(&node);
            fs::write(&path, fs::read_to_string(&path).unwrap() + SHORT_WAITS).unwrap();
        }
        self
    }

    /// The folder of all of it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folders of all nodes.
    pub fn nodes(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.root).unwrap().map(|entry| entry.unwrap());
        let mut names: Vec<_> = entries
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A node's configuration.
    pub fn config(&self, node: &str) -> PathBuf {
        self.root.join(node).join("node.toml")
    }

    /// Replaces a part of a node's configuration, which must be there.
    pub fn edit(&self, node: &str, from: &str, to: &str) {
        let path = self.config(node);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Starts a node.
    pub fn start(&mut self, node: &str) {
        let started = Node::start(role_of(node).as_str(), &self.config(node));
        self.running.insert(node.to_owned(), started);
    }

    /// Gives each node an address of its own, in the files of all.
    pub fn move_to(&self, address: impl Fn(&str) -> String) {
        let listen = |node: &String| {
            let text = fs::read_to_string(self.config(node)).unwrap();
            let line = text.lines().find(|line| line.starts_with("listen = \"127.0.0.1:")).unwrap();
            line.trim_start_matches("listen = ").to_owned()
        };
        let moved: Vec<_> = self
            .nodes()
            .into_iter()
            .map(|node| (listen(&node), listen(&node).replace("127.0.0.1", &address(&node))))
            .collect();
        for node in self.nodes() {
            let text = fs::read_to_string(self.config(&node)).unwrap();
            let text = moved.iter().fold(text, |text, (from, to)| text.replace(from, to));
            fs::write(self.config(&node), text).unwrap();
        }
    }

    /// Starts a node by a command that runs the program with more arguments.
    pub fn start_by(&mut self, node: &str, mut command: Command) {
        command.args([role_of(node).as_str(), "--config", self.config(node).to_str().unwrap()]);
        let started = Node::spawn(&mut command);
        started.until("started");
        self.running.insert(node.to_owned(), started);
    }

    /// Starts every node, and waits until each gate takes jobs and sees every worker.
    pub fn start_all(&mut self) {
        for node in self.nodes() {
            self.start(&node);
        }
        for gate in 1..=self.gates {
            self.assembled(gate);
        }
    }

    /// Waits until a gate takes jobs and sees every worker.
    pub fn assembled(&self, gate: u16) {
        let http = self.gate(gate);
        let begun = Instant::now();
        loop {
            let ready = http.try_get("/readyz").is_some_and(|answer| answer.status == 200);
            let seen = http.try_get("/v1/datacenters").map(|answer| answer.json());
            if ready && seen.as_ref().is_some_and(|seen| self.is_whole(seen)) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "gate-{gate} sees {seen:?}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    fn is_whole(&self, seen: &Value) -> bool {
        let usable = |dc: &&Value| dc["usable"] == true && dc["capacity"]["workers"] == self.workers;
        seen.as_array().is_some_and(|all| all.iter().filter(usable).count() == usize::from(self.datacenters))
    }

    /// A running node.
    pub fn node(&self, name: &str) -> &Node {
        &self.running[name]
    }

    /// Takes a running node out of the cluster's care.
    pub fn take(&mut self, name: &str) -> Node {
        self.running.remove(name).unwrap()
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&mut self, name: &str) {
        drop(self.take(name));
    }

    /// The API of a gate, with the operator's token.
    pub fn gate(&self, number: u16) -> Http {
        Http::new(self.first_port + 2 * number - 1).with_token(&self.token())
    }

    /// The APIs of all gates.
    pub fn gates(&self) -> Vec<Http> {
        (1..=self.gates).map(|number| self.gate(number)).collect()
    }

    /// What `--gate` takes.
    pub fn gate_urls(&self) -> String {
        self.gates().iter().map(Http::url).collect::<Vec<_>>().join(",")
    }

    /// The operator's token.
    pub fn token(&self) -> String {
        fs::read_to_string(self.root.join("api.token")).unwrap().trim().to_owned()
    }

    /// The folder of the node with this id.
    pub fn name_of(&self, id: NodeId) -> String {
        let is_it = |name: &String| {
            let (dc, own) = parts_of(name);
            NodeId::derive("local", role_of(name), &dc, &own) == id
        };
        self.nodes().into_iter().find(is_it).unwrap_or_else(|| panic!("no node has the id {id}"))
    }
}

fn role_of(folder: &str) -> Role {
    match parts_of(folder).1.split_once('-').unwrap().0 {
        "gate" => Role::Gate,
        "manager" => Role::Manager,
        _ => Role::Worker,
    }
}

/// Datacenter and name of a node by its folder: `gate-1`, `dc-1-worker-2`.
fn parts_of(folder: &str) -> (String, String) {
    match folder.strip_prefix("dc-").and_then(|rest| rest.split_once('-')) {
        Some((number, name)) => (format!("dc-{number}"), name.to_owned()),
        None => (DcId::NONE.as_str().to_owned(), folder.to_owned()),
    }
}
