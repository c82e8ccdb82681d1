//! The built-in target of a first run: a small HTTP server on loopback, with latencies worth looking at.
//!
//! `/hello` answers after a few milliseconds, one time in fifty after 25; `/fast` at once; `/slow?ms=N` after so long
//! (at most 10 s); `/status/N` with that status. Everything about it is bounded: connections, bodies, waits.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

use crate::jobfile::BaseUrl;

/// Connections at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 4_096;
/// Largest request body, in bytes.
const MAX_BODY: usize = 1024 * 1024;
/// Longest wait of `/slow`.
const MAX_SLOW: Duration = Duration::from_secs(10);

/// The demo target while it runs.
pub struct Demo {
    addr: SocketAddr,
    served: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Demo {
    /// Listens on a free port of loopback, and serves on a thread of its own until it is dropped.
    pub fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let addr = listener.local_addr()?;
        let served = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = oneshot::channel();
        let counter = served.clone();
        let thread = std::thread::Builder::new().name("demo target".to_string()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, counter) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { addr, served, stop: Some(stop), thread: Some(thread) })
    }

    /// What `{{target}}` stands for when this is the target.
    pub fn base_url(&self) -> BaseUrl {
        format!("http://{}", self.addr).parse().expect("an address makes a URL")
    }

    /// How many requests it has answered.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the demo target broke");
        }
    }
}

async fn accept(listener: TcpListener, served: Arc<AtomicU64>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Out of descriptors, most likely: some will be free again.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let served = served.clone();
        tokio::spawn(async move {
            let _permit = permit;
            // Without it small responses wait for acknowledgements; a socket that refuses it is merely slow.
            let _ = stream.set_nodelay(true);
            let service = service_fn(|request| {
                let number = served.fetch_add(1, Ordering::Relaxed);
                answer(request, number)
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(60));
            // A client that goes away is no event here.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, number: u64) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    if Limited::new(body, MAX_BODY).collect().await.is_err() {
        return Ok(respond(StatusCode::PAYLOAD_TOO_LARGE, "the body is over 1 MiB\n"));
    }
    if !matches!(head.method, Method::GET | Method::HEAD | Method::POST | Method::PUT) {
        return Ok(respond(StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD, POST or PUT\n"));
    }
    let path = head.uri.path();
    Ok(match path {
        "/" => respond(StatusCode::OK, "Tidegate's demo target: /hello, /fast, /slow?ms=100, /status/503\n"),
        "/fast" => respond(StatusCode::OK, "fast\n"),
        "/hello" => {
            tokio::time::sleep(hello_wait(number)).await;
            respond(StatusCode::OK, "Hello from the demo target!\n")
        }
        "/slow" => {
            let wanted = head.uri.query().and_then(|query| query.strip_prefix("ms=")?.parse().ok());
            match wanted.map(Duration::from_millis) {
                None => respond(StatusCode::BAD_REQUEST, "how slow? /slow?ms=100\n"),
                Some(wait) => {
                    tokio::time::sleep(wait.min(MAX_SLOW)).await;
                    respond(StatusCode::OK, "slow\n")
                }
            }
        }
        _ => match path.strip_prefix("/status/").and_then(|code| code.parse::<u16>().ok()) {
            // 1xx is no final answer.
            Some(code @ 200..=599) => {
                respond(StatusCode::from_u16(code).unwrap_or_default(), "as you wish\n")
            }
            _ => respond(StatusCode::NOT_FOUND, "nothing here\n"),
        },
    })
}

/// 2 to 8 ms, every fiftieth 25 ms; the same for the n-th request of every run.
fn hello_wait(number: u64) -> Duration {
    if number % 50 == 49 {
        return Duration::from_millis(25);
    }
    // A multiplicative hash (Knuth, TAOCP vol. 3, 6.4) spreads neighbours apart.
    Duration::from_micros(2_000 + (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 6_000)
}

fn respond(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let body = if matches!(status.as_u16(), 204 | 304) { "" } else { text };
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response
}
