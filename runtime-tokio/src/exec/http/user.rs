//! One virtual user: a loop of iterations, each a list of requests in order, over connections of its own.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use super::connection::{Connection, NoReply};
use super::failure::Failure;
use super::load::LoadThread;
use super::prepare::PreparedRequest;
use super::tally::Sample;

/// In the closed model a user that could not connect waits this long: a dead target is not met with a storm.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);

/// A virtual user.
pub(super) struct User<'a> {
    thread: &'a LoadThread,
    /// Its number in the job.
    vu: u32,
    connections: Vec<Option<Connection>>,
    deadline: Deadline,
}

/// Runs a user until there is nothing left to start. `place` is its place in the thread.
pub(super) async fn run(thread: &LoadThread, place: usize, vu: u32) {
    let connections = thread.plan.endpoints.iter().map(|_| None).collect();
    let mut user = User { thread, vu, connections, deadline: Deadline::new() };
    let mut iter = 0;
    while let Some(intended) = thread.next_start(place).await {
        user.iterate(iter, intended).await;
        iter += 1;
    }
    thread.user_ends();
}

impl User<'_> {
    async fn iterate(&mut self, iter: u64, intended: Instant) {
        let thread = self.thread;
        for (at, request) in thread.plan.requests.iter().enumerate() {
            if at > 0 && thread.is_over() {
                return;
            }
            let mut ready = if at == 0 { intended } else { Instant::now() };
            if let Some(cap) = &thread.cap {
                if !thread.nap_until(cap.reserve()).await || thread.is_over() {
                    return thread.give_up(at);
                }
                // The closed model has no schedule to be late for: waiting for the worker's own cap is no latency.
                if !thread.is_open_model() {
                    ready = Instant::now();
                }
            }
            let failure = self.send(request, iter, ready).await;
            if matches!(failure, Some(Failure::Connect(_))) && !thread.is_open_model() {
                thread.nap_until(Instant::now() + CONNECT_PAUSE).await;
            }
        }
    }

    /// Sends one request, and counts how it ended.
    async fn send(&mut self, request: &PreparedRequest, iter: u64, ready: Instant) -> Option<Failure> {
        let thread = self.thread;
        let mut attempt = Attempt { thread, request, vu: self.vu, iter, handed_at: None };
        let slot = &mut self.connections[request.endpoint];
        let due = Instant::now() + request.timeout;
        let result = self.deadline.limit(due, attempt.run(slot)).await.unwrap_or(Err(Failure::Timeout));
        let ended = Instant::now();
        let broken = matches!(result, Err(failure) if !matches!(failure, Failure::Status(_)));
        if broken || !thread.plan.keep_alive {
            *slot = None;
        }
        let sent = attempt.handed_at;
        thread.record(&Sample {
            ended: ended.saturating_duration_since(thread.begin),
            latency: ended.saturating_duration_since(ready),
            service: sent.map(|(at, _)| ended.saturating_duration_since(at)),
            bytes_out: sent.map_or(0, |(_, bytes)| bytes),
            result,
        });
        result.err()
    }
}

/// One request on its way.
struct Attempt<'a> {
    thread: &'a LoadThread,
    request: &'a PreparedRequest,
    vu: u32,
    iter: u64,
    /// When it was handed to an open connection, and how long its body is.
    handed_at: Option<(Instant, u64)>,
}

impl Attempt<'_> {
    /// The bytes of a good response's body, or what went wrong.
    async fn run(&mut self, slot: &mut Option<Connection>) -> Result<u64, Failure> {
        let mut message = self.request.build(self.vu, self.iter);
        loop {
            let kept = match slot {
                Some(connection) => connection.is_usable().await,
                None => false,
            };
            if !kept {
                *slot = None;
                let endpoint = &self.thread.plan.endpoints[self.request.endpoint];
                *slot = Some(Connection::open(endpoint, self.vu as usize).await?);
            }
            let Some(connection) = slot else { unreachable!("it was just opened") };
            let body_bytes = hyper::body::Body::size_hint(message.body()).lower();
            self.handed_at = Some((Instant::now(), body_bytes));
            match connection.exchange(message).await {
                Ok(reply) if self.request.accepts(reply.status) => return Ok(reply.body_bytes),
                Ok(reply) => return Err(Failure::Status(reply.status)),
                // The other side closed a kept connection before anything was sent: not a failure of the target.
                Err(NoReply::Unsent(unsent)) if kept => {
                    *slot = None;
                    message = *unsent;
                }
                Err(NoReply::Unsent(_)) => return Err(Failure::Broken(super::failure::IoKind::Closed)),
                Err(NoReply::Failed(failure)) => return Err(failure),
            }
        }
    }
}

/// A deadline for one request after the other, with one timer: it is set again only when it fires too early, so a
/// request costs no timer of its own.
struct Deadline(Pin<Box<Sleep>>);

impl Deadline {
    fn new() -> Self {
        Self(Box::pin(tokio::time::sleep(Duration::ZERO)))
    }

    /// The outcome of the future, or `None` where it was not there by `due`.
    async fn limit<T>(&mut self, due: Instant, future: impl Future<Output = T>) -> Option<T> {
        let due = tokio::time::Instant::from_std(due);
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(outcome) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            if self.0.deadline() > due {
                self.0.as_mut().reset(due);
            }
            while self.0.as_mut().poll(cx).is_ready() {
                if self.0.deadline() >= due {
                    return Poll::Ready(None);
                }
                self.0.as_mut().reset(due);
            }
            Poll::Pending
        })
        .await
    }
}
