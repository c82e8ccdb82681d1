//! A process that serves one node: `tidegate gate|manager|worker --config FILE`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use tidegate_core::effect::HaltReason;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::setup::{NodeSetup, RunningNode, StartError, explain};
use crate::config::{LogFormat, LogSettings, NodeFile};
use crate::driver::{ExecutorsFactory, Exit};
use crate::http;
use crate::net::{Bound, Claims, KeyRing, NodeTls};

/// Runs the node of a configuration until it ends; the first SIGTERM or SIGINT drains it, the second ends the process.
/// `executors` makes a worker's executors from its configuration, or says what is wrong with it.
pub fn serve(
    file: NodeFile,
    record: Option<PathBuf>,
    executors: impl FnOnce(&NodeFile) -> Result<Option<ExecutorsFactory>, String>,
) -> ExitCode {
    start_log(&file.log);
    let executors = match executors(&file) {
        Ok(executors) => executors,
        Err(why) => return refuse(&StartError::new(why)),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&StartError::new(error)),
    };
    let code = runtime.block_on(async {
        match start(file, record, executors).await {
            Ok((node, signals)) => ExitCode::from(run(node, signals).await),
            Err(error) => refuse(&error),
        }
    });
    runtime.shutdown_background();
    code
}

fn refuse(error: &StartError) -> ExitCode {
    eprintln!("tidegate: {error}");
    ExitCode::from(error.code())
}

fn start_log(log: &LogSettings) {
    let registry = tracing_subscriber::registry().with(log.filter.clone());
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match log.format {
        LogFormat::Text => registry.with(stderr).init(),
        LogFormat::Json => registry.with(stderr.json()).init(),
    }
}

async fn start(
    file: NodeFile,
    record: Option<PathBuf>,
    executors: Option<ExecutorsFactory>,
) -> Result<(RunningNode, Signals), StartError> {
    let signals = Signals::new().map_err(StartError::new)?;
    let tls = NodeTls::load(&file.authority, &file.certificate, &file.key).map_err(StartError::new)?;
    let configured =
        Claims { cluster: file.cluster.clone(), role: file.role, dc: file.dc, name: file.name.clone() };
    if tls.claims != configured {
        return Err(StartError::new(format!(
            "{} is for {}, the configuration is for {}",
            file.certificate.display(),
            tls.claims.uri(),
            configured.uri()
        )));
    }
    let gossip = KeyRing::load(&file.gossip_key_file).map_err(StartError::new)?;
    let bound = Bound::new(file.listen).map_err(StartError::new)?;
    let setup = NodeSetup {
        tls,
        gossip,
        bound,
        advertise: file.advertise,
        roster: file.roster,
        data_dir: file.data_dir,
        offer: file.offer,
        timing: file.timing,
        limits: file.limits,
        allow_two_voters: file.allow_two_voters,
        without: file.without,
        executors,
        record,
        tap: None,
    };
    let node = setup.start().await?;
    if let Some(api) = &file.api {
        http::open(api, &node).await.map_err(StartError::new)?;
        tracing::info!(listen = %api.listen, tls = api.tls.is_some(), "the API is open");
    }
    tracing::info!(node = %configured.uri(), id = %node.node(), listen = %node.addr(), "started");
    Ok((node, signals))
}

struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// The next one's number.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.term.recv() => 15,
            _ = self.int.recv() => 2,
        }
    }
}

/// Waits for the node's end; gives the process's exit code.
async fn run(mut node: RunningNode, mut signals: Signals) -> u8 {
    let mut draining = false;
    let exit = loop {
        tokio::select! {
            exit = node.ended() => break exit,
            signal = signals.next() => {
                if draining {
                    tracing::warn!("asked twice to end; ending at once");
                    return 128 + signal;
                }
                draining = true;
                tracing::info!("draining; the same signal again ends at once");
                node.drain();
            }
        }
    };
    node.wait().await;
    match exit {
        Exit::Halted(HaltReason::Drained) => tracing::info!("ended: drained"),
        Exit::Halted(reason) => tracing::error!("ended: {}", explain(reason)),
        Exit::Stopped => tracing::info!("stopped"),
        Exit::Panicked => tracing::error!("the node broke one of its invariants and has ended"),
    }
    exit.code()
}
