//! How much of the machine others use, sampled once a second for all nodes of the process.
//!
//! What this process and its children use is left out: that is the load it was asked for, and a node that suffers from it
//! sees so by its own queue.

use std::collections::HashSet;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use sysinfo::{
    CpuRefreshKind, MemoryRefreshKind, Pid, Process, ProcessRefreshKind, ProcessesToUpdate, RefreshKind,
    System,
};
use tidegate_core::Event;
use tidegate_core::guard::Usage;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::inbox::InboxSender;

/// Time between two samples.
const EVERY: Duration = Duration::from_secs(1);

/// Puts every sample into a node's inbox until it is aborted.
pub fn keep_sampling(inbox: InboxSender) -> AbortHandle {
    let mut samples = samples();
    let task = tokio::spawn(async move {
        while samples.changed().await.is_ok() {
            let usage = *samples.borrow_and_update();
            inbox.push(Event::Usage(usage));
        }
    });
    task.abort_handle()
}

/// The samples of this process: its first node starts the thread that takes them.
fn samples() -> watch::Receiver<Usage> {
    static SAMPLES: OnceLock<watch::Sender<Usage>> = OnceLock::new();
    let sender = SAMPLES.get_or_init(|| {
        let sender = watch::Sender::default();
        let samples = sender.clone();
        let started = thread::Builder::new().name("usage".to_owned()).spawn(move || take_samples(&samples));
        if let Err(error) = started {
            tracing::warn!("the machine's load cannot be sampled: {error}; nodes go on without knowing it");
        }
        sender
    });
    sender.subscribe()
}

fn take_samples(samples: &watch::Sender<Usage>) {
    let Ok(me) = sysinfo::get_current_pid() else {
        return tracing::warn!("this system does not say how loaded it is; nodes go on without knowing it");
    };
    let kinds = RefreshKind::nothing()
        .with_cpu(CpuRefreshKind::nothing().with_cpu_usage())
        .with_memory(MemoryRefreshKind::nothing().with_ram());
    let mut system = System::new_with_specifics(kinds);
    // Processor time is a difference between two looks: the first tells nothing.
    look(&mut system);
    loop {
        thread::sleep(EVERY);
        look(&mut system);
        samples.send_replace(usage(&system, me));
    }
}

fn look(system: &mut System) {
    system.refresh_cpu_usage();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let kind = ProcessRefreshKind::nothing().with_cpu().without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
}

fn usage(system: &System, me: Pid) -> Usage {
    let processors = system.cpus().len().max(1) as f32;
    let own: f32 = family(system, me).map(Process::cpu_usage).sum();
    let others = (system.global_cpu_usage() - own / processors).clamp(0.0, 100.0);
    let total = system.total_memory().max(1);
    Usage {
        cpu_permille: (others * 10.0) as u16,
        memory_permille: (system.used_memory().min(total) * 1_000 / total) as u16,
    }
}

/// A process and all that it has started.
fn family(system: &System, me: Pid) -> impl Iterator<Item = &Process> {
    let mut family = HashSet::from([me]);
    let mut before = 0;
    while family.len() > before {
        before = family.len();
        let children =
            system.processes().values().filter(|it| it.parent().is_some_and(|it| family.contains(&it)));
        let children: Vec<Pid> = children.map(Process::pid).collect();
        family.extend(children);
    }
    system.processes().values().filter(move |it| family.contains(&it.pid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nodes_hear_of_the_machine_they_are_on() {
        let (sender, inbox) = super::super::Inbox::new(super::super::NodeClock::start());
        let sampling = keep_sampling(sender);
        let events = tokio::task::spawn_blocking(move || inbox.take_events(Duration::from_secs(20)));
        let events = events.await.unwrap();
        sampling.abort();
        let [Event::Usage(usage), ..] = events[..] else { panic!("{events:?}") };
        // Something is always in use, and never more than there is.
        assert!((1..=1_000).contains(&usage.memory_permille) && usage.cpu_permille <= 1_000, "{usage:?}");
    }

    #[test]
    fn a_childs_work_is_not_that_of_others() {
        let me = sysinfo::get_current_pid().unwrap();
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let mut system = System::new();
        look(&mut system);
        let pids: Vec<u32> = family(&system, me).map(|it| it.pid().as_u32()).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(pids.contains(&me.as_u32()) && pids.contains(&child.id()));
        assert!(pids.len() < system.processes().len(), "not everybody");
    }
}
