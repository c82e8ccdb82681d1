//! One process that serves a node.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, TIDEGATE};

/// What a process has written so far, and whether it may write more.
#[derive(Default)]
struct Log {
    text: Mutex<(String, bool)>,
    grown: Condvar,
}

/// A running node; killed when dropped.
pub struct Node {
    child: Child,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
}

impl Node {
    /// Starts a node and waits until it says so.
    pub fn start(role: &str, config: &Path) -> Self {
        let node = Self::spawn(Command::new(TIDEGATE).args([role, "--config", config.to_str().unwrap()]));
        node.until("started");
        node
    }

    /// Starts whatever command, with its standard error as the log.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Log::default());
        let writer = Arc::clone(&log);
        let reader = thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).unwrap() > 0 {
                writer.text.lock().unwrap().0.push_str(&line);
                writer.grown.notify_all();
                line.clear();
            }
            writer.text.lock().unwrap().1 = true;
            writer.grown.notify_all();
        });
        Self { child, log, reader: Some(reader) }
    }

    /// Waits until the log has this in a line.
    pub fn until(&self, wanted: &str) {
        self.until_times(wanted, 1);
    }

    /// Waits until the log has this so many times.
    pub fn until_times(&self, wanted: &str, times: usize) {
        let begun = Instant::now();
        let mut text = self.log.text.lock().unwrap();
        while text.0.matches(wanted).count() < times {
            assert!(!text.1, "the log ended without {times} of {wanted:?}:\n{}", text.0);
            let left = PATIENCE.saturating_sub(begun.elapsed());
            assert!(!left.is_zero(), "{times} of {wanted:?} never came:\n{}", text.0);
            text = self.log.grown.wait_timeout(text, left).unwrap().0;
        }
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        self.log.text.lock().unwrap().0.clone()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end: the exit code, and the whole log.
    pub fn ended(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        self.reader.take().unwrap().join().unwrap();
        (code, self.log())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
