//! What workers run: `http`, `command` and `sleep`.
//!
//! Takes the worker's commands, gives its events; decides nothing about jobs. Every execution begins at its moment,
//! reports at each sample and ends with exactly one `Finished`, when nothing of it runs any more. Load runs on threads
//! of its own and commands in process groups of their own, never on a node's thread. What a worker allows is its
//! [`Policy`].

mod command;
mod fill;
mod http;
mod policy;
mod run;
mod sleep;
mod tail;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tidegate_core::id::{Role, RunId};
use tidegate_core::jobs::{ExecCommand, ExecEvent, StopMode};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};

use crate::config::NodeFile;
use crate::driver::{Executors, ExecutorsFactory};

pub use policy::{Policy, Secrets, TargetRule};
use run::{Context, Ended, Execution};

/// The executors of one worker, on a thread of their own.
pub struct Engine {
    commands: Option<mpsc::UnboundedSender<(Instant, ExecCommand)>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts the thread. `tell` is called on it and must not wait.
    pub fn start(policy: Policy, tell: impl Fn(ExecEvent) + Send + Sync + 'static) -> io::Result<Self> {
        raise_file_limit();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let cap = policy.max_rate.map(|rate| Arc::new(http::RateCap::new(rate)));
        let context = Arc::new(Context { policy, cap, tell: Box::new(tell) });
        // A worker starts no more executions than it has cores for, and each gets at most two stops.
        let (commands, inbox) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("executors".to_string())
            .spawn(move || runtime.block_on(Running::new(context).serve(inbox)))?;
        Ok(Self { commands: Some(commands), thread: Some(thread) })
    }

    /// Starts or stops an execution; what comes of it is told as events.
    pub fn perform(&mut self, command: ExecCommand) {
        if let Some(commands) = &self.commands {
            // The thread lives as long as this sender.
            let _ = commands.send((Instant::now(), command));
        }
    }

    /// Kills whatever runs, process groups included, and returns when it is gone.
    pub fn shutdown(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the executors' thread broke");
        }
    }
}

impl Executors for Engine {
    fn perform(&mut self, command: ExecCommand) {
        Self::perform(self, command);
    }

    fn shutdown(&mut self) {
        Self::shutdown(self);
    }
}

/// The executors of a worker with this policy, for its driver.
///
/// # Panics
/// When it is called and the system has no thread left for them: a worker without executors is none.
pub fn factory(policy: Policy) -> ExecutorsFactory {
    Box::new(move |events| {
        let engine = Engine::start(policy, move |event| events.send(event));
        Box::new(engine.unwrap_or_else(|error| panic!("the executors cannot be started: {error}")))
    })
}

/// What a node's configuration says about executors: `None` for a node that is no worker. The error is for the
/// operator.
pub fn of_node(file: &NodeFile) -> Result<Option<ExecutorsFactory>, String> {
    if file.role == Role::Worker { Policy::of(file).map(factory).map(Some) } else { Ok(None) }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Every virtual user needs a socket: take as many as the system gives without asking.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Without it there are fewer sockets, which the errors of the requests tell.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// The executions that run.
struct Running {
    context: Arc<Context>,
    stops: BTreeMap<RunId, watch::Sender<Option<StopMode>>>,
    tasks: JoinSet<()>,
    runs: HashMap<Id, RunId>,
}

impl Running {
    fn new(context: Arc<Context>) -> Self {
        Self { context, stops: BTreeMap::new(), tasks: JoinSet::new(), runs: HashMap::new() }
    }

    async fn serve(mut self, mut inbox: mpsc::UnboundedReceiver<(Instant, ExecCommand)>) {
        loop {
            tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
                command = inbox.recv() => match command {
                    Some((at, command)) => self.perform(at, command),
                    None => break,
                },
            }
        }
        for stop in self.stops.values() {
            stop.send_replace(Some(StopMode::Kill));
        }
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.ended(ended);
        }
    }

    fn perform(&mut self, at: Instant, command: ExecCommand) {
        match command {
            ExecCommand::Start { run, shard, start_in } => {
                let (stop, stopped) = watch::channel(None);
                if self.stops.contains_key(&run) {
                    tracing::error!(?run, "an execution was started twice; the first goes on");
                    return;
                }
                self.stops.insert(run, stop);
                let begin = at + Duration::from_nanos(start_in.as_nanos());
                let execution = Execution { run, shard: *shard, begin, stop: stopped };
                let context = self.context.clone();
                let task = self.tasks.spawn(async move { run::run(&context, execution).await });
                self.runs.insert(task.id(), run);
            }
            ExecCommand::Stop { run, mode } => {
                // One that has ended has said so.
                if let Some(stop) = self.stops.get(&run) {
                    stop.send_if_modified(|last| {
                        let further = Some(mode) > *last;
                        if further {
                            *last = Some(mode);
                        }
                        further
                    });
                }
            }
        }
    }

    fn ended(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let Some(run) = self.runs.remove(&id) else { return };
        self.stops.remove(&run);
        if ended.is_err() {
            self.context.report(run::finished(run, Ended::failed("the executor broke")));
        }
    }
}
