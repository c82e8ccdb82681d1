//! `tidegate run` as a process, its events as they come.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use tidegate::demo::Demo;
use tidegate::report::Report;
use tidegate_core::api::{ClientEvent, ClientEventKind};
use tidegate_core::id::JobId;
use tidegate_core::jobs::JobResult;

use super::{Cluster, PATIENCE, TIDEGATE};

/// A run with `--json`; killed when dropped.
pub struct Run {
    child: Child,
    lines: Receiver<String>,
    /// Every event so far.
    pub events: Vec<ClientEvent>,
    out: PathBuf,
}

/// A run that has ended.
pub struct Ended {
    pub code: Option<i32>,
    pub events: Vec<ClientEvent>,
    pub stderr: String,
    out: PathBuf,
}

impl Ended {
    /// What it wrote with `--out`.
    pub fn report(&self) -> Report {
        let text = std::fs::read(&self.out).unwrap_or_else(|error| panic!("{error}\n{}", self.stderr));
        serde_json::from_slice(&text).unwrap()
    }

    /// The one final result among the events, which is the last of them.
    pub fn result(&self) -> &JobResult {
        let is_final = |event: &&ClientEvent| matches!(event.kind, ClientEventKind::Final(_));
        assert_eq!(self.events.iter().filter(is_final).count(), 1, "{:?}", self.events);
        match &self.events.last().unwrap().kind {
            ClientEventKind::Final(result) => result,
            other => panic!("the last event is {other:?}"),
        }
    }
}

impl Run {
    /// Runs a job file at a cluster, with the demo as its target.
    pub fn at(cluster: &Cluster, file: &Path, target: &Demo) -> Self {
        let out = cluster.root().join("result.json");
        let mut command = Command::new(TIDEGATE);
        command.arg("run").arg(file).arg("--json").arg("--out").arg(&out);
        command.args(["--gate", &cluster.gate_urls(), "--token", &cluster.token()]);
        command.args(["--target", &target.base_url().to_string()]);
        Self::spawn(command, out)
    }

    /// Runs a command that prints events.
    pub fn spawn(mut command: Command, out: PathBuf) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines() {
                // Fails only where the test has ended.
                let _ = sender.send(line.unwrap());
            }
        });
        Self { child, lines, events: Vec::new(), out }
    }

    /// Waits for an event.
    pub fn until<T>(&mut self, wanted: impl Fn(&ClientEventKind) -> Option<T>) -> T {
        loop {
            match self.next() {
                Some(event) => {
                    if let Some(found) = wanted(&event.kind) {
                        return found;
                    }
                }
                None => {
                    let stderr = self.stderr();
                    panic!("the run ended before it:\n{:#?}\n{stderr}", self.events);
                }
            }
        }
    }

    /// Waits until so many requests have been reported, over all datacenters.
    pub fn until_requests(&mut self, count: u64) {
        self.until(|kind| {
            let ClientEventKind::Progress { per_dc, .. } = kind else { return None };
            (per_dc.iter().map(|dc| dc.totals.ok).sum::<u64>() >= count).then_some(())
        });
    }

    /// The job, once there is one.
    pub fn job(&mut self) -> JobId {
        while self.events.is_empty() {
            if self.next().is_none() {
                panic!("{}", self.stderr());
            }
        }
        self.events[0].job
    }

    /// Waits for its end.
    pub fn ended(mut self) -> Ended {
        while self.next().is_some() {}
        let stderr = self.stderr();
        let code = self.child.wait().unwrap().code();
        Ended { code, events: std::mem::take(&mut self.events), stderr, out: self.out.clone() }
    }

    fn next(&mut self) -> Option<&ClientEvent> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                self.events
                    .push(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")));
                self.events.last()
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no event came for long: {:#?}", self.events),
        }
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
