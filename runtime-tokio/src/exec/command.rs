//! The `command` executor: one process with all its children.
//!
//! The process leads a group of its own; every signal goes to the group, and the execution has ended only when nothing
//! of the group is left. Its environment is what the plan says and little more: the worker's own never reaches it. The
//! end of its output enters the explanation of a failure, with secrets covered, and nothing else.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tidegate_core::jobs::{Outcome, StopMode};
use tokio::process::Command;

use super::fill::Filled;
use super::policy::Secrets;
use super::run::{Context, Ended, Execution, single, stop_outcome, unfinished};
use super::tail::Tail;
use crate::jobfile::{CommandPlan, Template};

/// From SIGTERM to SIGKILL when the time is over.
const TERM_GRACE: Duration = Duration::from_secs(5);
/// How long the end of a killed group is waited for.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// How long output is still read when the group is gone: something outside of it may hold the pipe.
const READ_AFTER: Duration = Duration::from_millis(200);
/// What a command gets of the worker's environment.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// Runs the process until its end, a stop or the limit.
pub(super) async fn run(context: &Context, execution: &mut Execution, plan: &CommandPlan) -> Ended {
    let mut command = match prepare(plan, execution, &context.policy.secrets) {
        Ok(command) => command,
        Err(why) => return Ended::failed(why),
    };
    if let Err(mode) = execution.begin(context).await {
        return Ended::before_it_began(mode);
    }
    let (run, begin) = (execution.run, execution.begin);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let why = format!("the command cannot be started: {error}");
            return Ended { totals: single(begin.elapsed(), Err("not started")), ..Ended::failed(why) };
        }
    };
    let Some(group) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else {
        return Ended::failed("the command has no process id");
    };
    let group = Group(Some(group));
    let tail = Tail::read(child.stdout.take(), child.stderr.take(), context.policy.secrets.longest());
    let (end, status) = tokio::select! {
        ended = wait(&mut child, execution, &group) => ended,
        () = Execution::report_time(run, begin, context) => unreachable!("it reports for ever"),
    };
    let gone = group.end().await;
    let output = tail.finish(READ_AFTER, &context.policy.secrets).await;
    conclude(end, status, begin.elapsed(), &output, gone)
}

fn prepare(plan: &CommandPlan, execution: &Execution, secrets: &Secrets) -> Result<Command, String> {
    let fill = |template: &Template| Ok::<_, String>(Filled::new(template, secrets)?.text(0, 0));
    let argv = plan.argv.iter().map(fill).collect::<Result<Vec<_>, _>>()?;
    let (program, arguments) = argv.split_first().ok_or("the plan names no program")?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    for (name, value) in &plan.env {
        command.env(name, fill(value)?);
    }
    let (shard, attempt) = (execution.run.shard, execution.run.attempt);
    command
        .env("TIDEGATE_JOB", shard.job.to_string())
        .env("TIDEGATE_WORKFLOW", shard.workflow.to_string())
        .env("TIDEGATE_DATACENTER", shard.dc.to_string())
        .env("TIDEGATE_INSTANCE", execution.shard.first_vu.to_string())
        .env("TIDEGATE_SHARD", shard.shard.to_string())
        .env("TIDEGATE_ATTEMPT", attempt.to_string())
        .env("TIDEGATE_CORES", plan.cores.to_string());
    Ok(command)
}

/// What ended the process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Itself,
    Stopped(StopMode),
    TimedOut,
}

async fn wait(
    child: &mut tokio::process::Child,
    execution: &mut Execution,
    group: &Group,
) -> (End, io::Result<ExitStatus>) {
    let limit_ms = execution.shard.run_limit_ms.min(execution.shard.load.duration_ms);
    let limit = execution.begin + Duration::from_millis(limit_ms.into());
    let (mut end, mut stopped, mut kill_at) = (End::Itself, None, None::<Instant>);
    loop {
        let deadline = kill_at.unwrap_or(limit);
        tokio::select! {
            biased;
            status = child.wait() => return (end, status),
            mode = execution.stopped_beyond(stopped) => {
                stopped = Some(mode);
                if end != End::TimedOut {
                    end = End::Stopped(mode);
                }
                group.signal(if mode == StopMode::Kill { Signal::KILL } else { Signal::TERM });
            }
            () = tokio::time::sleep_until(deadline.into()) => {
                if kill_at.is_none() && end == End::Itself {
                    end = End::TimedOut;
                    group.signal(Signal::TERM);
                } else {
                    group.signal(Signal::KILL);
                }
                kill_at = Some(Instant::now() + TERM_GRACE);
            }
        }
    }
}

fn conclude(end: End, status: io::Result<ExitStatus>, elapsed: Duration, output: &str, gone: bool) -> Ended {
    let (outcome, totals, mut why) = match (end, status) {
        (_, Err(error)) => {
            (Outcome::Failed, single(elapsed, Err("lost")), format!("the command was lost sight of: {error}"))
        }
        (End::Itself, Ok(status)) if status.success() => {
            (Outcome::Completed, single(elapsed, Ok(())), String::new())
        }
        (End::Itself, Ok(status)) => {
            let kind = describe(status);
            (
                Outcome::Failed,
                single(elapsed, Err(&kind)),
                with_output(&format!("the command ended with {kind}"), output),
            )
        }
        (End::TimedOut, Ok(_)) => {
            let why = with_output("the command took longer than its timeout", output);
            (Outcome::TimedOut, single(elapsed, Err("timeout")), why)
        }
        (End::Stopped(mode), Ok(_)) => (stop_outcome(mode), unfinished(elapsed), String::new()),
    };
    if !gone {
        why = format!("processes of the command could not be killed; {why}");
    }
    Ended { outcome, totals, windows: Vec::new(), why }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown end".to_string(),
    }
}

/// The explanation, and as much of the end of the output as fits beside it.
fn with_output(why: &str, output: &str) -> String {
    /// Leaves room for the words around it.
    const SHOWN: usize = 400;
    if output.is_empty() {
        return why.to_string();
    }
    let from = output.len().saturating_sub(SHOWN);
    let from = (from..=output.len()).find(|&at| output.is_char_boundary(at)).unwrap_or(output.len());
    format!("{why}; its output ended with: {}", &output[from..])
}

/// A process group that is killed with its owner.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // A group that is gone already needs no signal.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Kills what is left of the group; whether all of it is gone.
    async fn end(mut self) -> bool {
        let deadline = Instant::now() + GONE_WITHIN;
        while !self.is_gone() {
            if Instant::now() >= deadline {
                return false;
            }
            self.signal(Signal::KILL);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.0 = None;
        true
    }

    fn is_gone(&self) -> bool {
        let Some(group) = self.0 else { return true };
        match test_kill_process_group(group) {
            Err(rustix::io::Errno::SRCH) => true,
            _ => only_zombies(group),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Whether everything in the group has ended and only waits to be collected, which in a container without an init
/// process nobody may ever do.
#[cfg(target_os = "linux")]
fn only_zombies(group: Pid) -> bool {
    let Ok(entries) = std::fs::read_dir("/proc") else { return false };
    let alive = |stat: String| {
        // "pid (name) state parent group ...": the name may hold anything, the last `)` ends it.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let (state, _parent, in_group) = (fields.next()?, fields.next()?, fields.next()?);
        Some(in_group.parse() == Ok(group.as_raw_nonzero().get()) && !matches!(state, "Z" | "X"))
    };
    !entries
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("stat")).ok())
        .any(|stat| alive(stat).unwrap_or(false))
}

#[cfg(not(target_os = "linux"))]
fn only_zombies(_: Pid) -> bool {
    false
}
