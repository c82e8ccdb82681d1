//! What the executors' tests share: an engine whose events can be waited for, and a server that counts.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidegate_core::id::{Attempt, DcId, JobId, RunId, ShardKey, WorkflowIx};
use tidegate_core::jobs::{
    ExecCommand, ExecEvent, ExecutorKind, Load, Outcome, ShardRun, StopMode, Totals, Window,
};
use tokio::net::TcpListener;

use super::{Engine, Policy};
use crate::jobfile::{Plan, Surroundings, Target, parse};

/// So long a test waits for something that must come; far beyond what it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine and what it tells.
pub(super) struct Bench {
    pub engine: Engine,
    events: mpsc::Receiver<ExecEvent>,
}

/// All that an execution told, in the end.
pub(super) struct Told {
    pub started: bool,
    pub progress: Vec<Totals>,
    pub outcome: Outcome,
    pub totals: Totals,
    pub windows: Vec<Window>,
    pub why: String,
    /// Every event as a log would print it.
    pub debug: String,
}

impl Told {
    pub(super) fn kinds(&self) -> Vec<(&str, u64)> {
        self.totals.errors.iter().map(|error| (error.kind.as_str(), error.count)).collect()
    }
}

impl Bench {
    pub(super) fn new(policy: Policy) -> Self {
        let (tell, events) = mpsc::channel();
        let tell = Mutex::new(tell);
        let engine = Engine::start(policy, move |event| {
            // A test that has seen enough does not listen any more.
            let _ = tell.lock().expect("the sender").send(event);
        })
        .expect("an engine");
        Self { engine, events }
    }

    pub(super) fn start(&mut self, shard: ShardRun) -> RunId {
        let run = run_id();
        let start_in = tidegate_core::Duration::from_millis(5);
        self.engine.perform(ExecCommand::Start { run, shard: Box::new(shard), start_in });
        run
    }

    pub(super) fn stop(&mut self, run: RunId, mode: StopMode) {
        self.engine.perform(ExecCommand::Stop { run, mode });
    }

    pub(super) fn next(&mut self) -> ExecEvent {
        self.events.recv_timeout(PATIENCE).expect("an event")
    }

    /// Waits until the execution has begun.
    pub(super) fn wait_started(&mut self) {
        let event = self.next();
        assert!(matches!(event, ExecEvent::Started { .. }), "{event:?}");
    }

    /// Listens to the end, and checks what holds for every execution.
    pub(super) fn finish(&mut self) -> Told {
        let (mut started, mut progress, mut windows) = (false, Vec::<Totals>::new(), Vec::new());
        let mut debug = String::new();
        loop {
            let event = self.next();
            debug.push_str(&format!("{event:?}\n"));
            match event {
                ExecEvent::Started { .. } => {
                    assert!(!started, "it begins once");
                    started = true;
                }
                ExecEvent::Progress { totals, windows: closed, .. } => {
                    if let Some(last) = progress.last() {
                        assert!(totals.covers(last), "numbers only grow");
                    }
                    progress.push(*totals);
                    windows.extend(closed);
                }
                ExecEvent::Finished { outcome, totals, windows: closed, why, .. } => {
                    windows.extend(closed);
                    if let Some(last) = progress.last() {
                        assert!(totals.covers(last), "numbers only grow");
                    }
                    assert!(
                        windows.windows(2).all(|pair| pair[0].no < pair[1].no),
                        "windows come in order, once"
                    );
                    return Told { started, progress, outcome, totals: *totals, windows, why, debug };
                }
            }
        }
    }

    /// Runs a shard to its end.
    pub(super) fn run(&mut self, shard: ShardRun) -> Told {
        self.start(shard);
        self.finish()
    }
}

pub(super) fn run_id() -> RunId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let shard = NEXT.fetch_add(1, Ordering::Relaxed) as u16;
    let dc = DcId::new("here").expect("a name");
    RunId { shard: ShardKey { job: JobId([7; 16]), workflow: WorkflowIx(0), dc, shard }, attempt: Attempt(1) }
}

/// A shard of a job that has one workflow with this executor table.
pub(super) fn shard(executor: &str) -> ShardRun {
    let text = format!("version = 1\nname = \"test\"\n[[workflow]]\nname = \"w\"\n{executor}\n");
    let around = Surroundings { env: &|_| None, target: &Target::Missing };
    let job = parse("test.toml", &text, &around).unwrap_or_else(|report| panic!("{report}"));
    let workflow = job.spec.workflows.into_iter().next().expect("a workflow");
    ShardRun {
        executor: workflow.executor,
        payload: workflow.payload,
        load: workflow.load,
        first_vu: 0,
        elapsed_before_ms: 0,
        cores: workflow.cores,
        run_limit_ms: 120_000,
        workflow: WorkflowIx(0),
    }
}

/// A shard of `http` that gets one URL.
pub(super) fn http(load: &str, url: &str) -> ShardRun {
    shard(&format!("http = {{ {load}, requests = [{{ url = \"{url}\" }}] }}"))
}

/// A shard without a job file.
pub(super) fn bare(executor: ExecutorKind, plan: &Plan, load: Load) -> ShardRun {
    ShardRun { executor, payload: plan.encode().into(), load, ..shard("sleep = { duration = \"1s\" }") }
}

/// A server that counts what it sees.
pub(super) struct Server {
    pub addr: SocketAddr,
    pub seen: Arc<Seen>,
    _runtime: tokio::runtime::Runtime,
}

/// What a server has seen.
#[derive(Default)]
pub(super) struct Seen {
    pub connections: AtomicU64,
    pub requests: AtomicU64,
    pub paths: Mutex<BTreeSet<String>>,
}

impl Server {
    /// Answers by path: `/ok`; `/hang` never; `/stall-once` the first one after 400 ms; `/close` and closes;
    /// `/status/N`; `/auth` 200 with the right authorization, else 401; `/echo` the body.
    pub(super) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let addr = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let counts = seen.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counts.connections.fetch_add(1, Ordering::Relaxed);
                let counts = counts.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| serve(request, &counts));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { addr, seen, _runtime: runtime }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(super) fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::Relaxed)
    }

    pub(super) fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::Relaxed)
    }
}

async fn serve(request: Request<Incoming>, seen: &Seen) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let first = seen.requests.fetch_add(1, Ordering::Relaxed) == 0;
    seen.paths.lock().expect("paths").insert(head.uri.to_string());
    let mut response = Response::new(Full::new(Bytes::from_static(b"ok")));
    match head.uri.path() {
        "/hang" => std::future::pending().await,
        "/stall-once" if first => tokio::time::sleep(Duration::from_millis(400)).await,
        "/close" => {
            response.headers_mut().insert("connection", http::HeaderValue::from_static("close"));
        }
        "/auth" => {
            let given = head.headers.get("authorization").map(|value| value.as_bytes());
            if given != Some(b"Bearer open sesame") {
                *response.status_mut() = http::StatusCode::UNAUTHORIZED;
            }
        }
        "/echo" => *response.body_mut() = Full::new(body),
        path => {
            if let Some(code) = path.strip_prefix("/status/") {
                *response.status_mut() = code.parse().expect("a status");
            }
        }
    }
    Ok(response)
}
