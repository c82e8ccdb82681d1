//! A node's counters, for `/metrics`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type Labels = [(&'static str, String); 1];

/// A node's counters. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    observations: Family<Labels, Counter>,
    malformed: Family<Labels, Counter>,
    handshakes_refused: Family<Labels, Counter>,
    pub(super) steps: Counter,
    pub(super) step_seconds: Histogram,
    pub(super) waited_seconds: Histogram,
    pub(super) calls_open: Gauge,
    /// Ordered connections that are up.
    pub connections: Gauge,
    /// Connections that were closed because their peer did not read.
    pub connections_overrun: Counter,
    /// Messages sent and received on ordered connections.
    pub messages_sent: Counter,
    /// See [`Metrics::messages_sent`].
    pub messages_received: Counter,
    /// Datagrams handed to the network.
    pub datagrams_sent: Counter,
    /// Datagrams that the network did not take, or that found the node's inbox full.
    pub datagrams_lost: Counter,
    /// Datagrams whose seal was right.
    pub datagrams_received: Counter,
    store_commits: Counter,
    store_batches: Counter,
    store_bytes: Counter,
    store_seconds: Histogram,
}

/// 1 us to 4 s, by factors of 4.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(1e-6, 4.0, 12))
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Arc::default(),
            observations: Family::default(),
            malformed: Family::default(),
            handshakes_refused: Family::default(),
            steps: Counter::default(),
            step_seconds: seconds(),
            waited_seconds: seconds(),
            calls_open: Gauge::default(),
            connections: Gauge::default(),
            connections_overrun: Counter::default(),
            messages_sent: Counter::default(),
            messages_received: Counter::default(),
            datagrams_sent: Counter::default(),
            datagrams_lost: Counter::default(),
            datagrams_received: Counter::default(),
            store_commits: Counter::default(),
            store_batches: Counter::default(),
            store_bytes: Counter::default(),
            store_seconds: seconds(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&self) {
        self.with_registry(|all| {
            let node = all.sub_registry_with_prefix("tidegate");
            node.register("observations", "What the node has decided, by kind", self.observations.clone());
            node.register(
                "malformed",
                "Received bytes that were no message, by reason",
                self.malformed.clone(),
            );
            let refused = self.handshakes_refused.clone();
            node.register("handshakes_refused", "Connections that did not come up, by reason", refused);
            node.register("steps", "Steps of the node", self.steps.clone());
            node.register("step_seconds", "How long a step and its effects took", self.step_seconds.clone());
            let waited = self.waited_seconds.clone();
            node.register("waited_seconds", "How long events waited for the node", waited);
            node.register("calls_open", "API calls and streams in progress", self.calls_open.clone());
            node.register("connections", "Ordered connections that are up", self.connections.clone());
            let overrun = self.connections_overrun.clone();
            node.register("connections_overrun", "Connections closed since the peer did not read", overrun);
            node.register("messages_sent", "Messages sent", self.messages_sent.clone());
            node.register("messages_received", "Messages received", self.messages_received.clone());
            node.register("datagrams_sent", "Datagrams sent", self.datagrams_sent.clone());
            node.register("datagrams_lost", "Datagrams lost on this machine", self.datagrams_lost.clone());
            node.register("datagrams_received", "Datagrams received", self.datagrams_received.clone());
            node.register("store_commits", "Durable commits", self.store_commits.clone());
            node.register("store_batches", "Batches in them", self.store_batches.clone());
            node.register("store_bytes", "Bytes in them", self.store_bytes.clone());
            node.register("store_seconds", "How long a commit took", self.store_seconds.clone());
        });
    }

    /// Runs `work` on the registry, so that other parts of the process can add their own.
    pub fn with_registry<T>(&self, work: impl FnOnce(&mut Registry) -> T) -> T {
        work(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        self.with_registry(|registry| {
            encode(&mut text, registry).expect("writing into a string cannot fail")
        });
        text
    }

    /// The counter of a kind of observation.
    pub(super) fn observations(&self, kind: &str) -> Counter {
        self.observations.get_or_create_owned(&[("kind", kind.to_owned())])
    }

    /// Counts bytes that were no message.
    pub(crate) fn count_malformed(&self, why: &str) {
        self.malformed.get_or_create(&[("why", why.to_owned())]).inc();
    }

    /// How often bytes were no message for this reason.
    pub fn malformed(&self, why: &str) -> u64 {
        self.malformed.get_or_create(&[("why", why.to_owned())]).get()
    }

    /// Counts a connection that did not come up.
    pub(crate) fn refuse_handshake(&self, why: &str) {
        self.handshakes_refused.get_or_create(&[("why", why.to_owned())]).inc();
    }

    /// How many connections did not come up for this reason.
    pub fn handshakes_refused(&self, why: &str) -> u64 {
        self.handshakes_refused.get_or_create(&[("why", why.to_owned())]).get()
    }

    /// Counts a durable commit.
    pub(crate) fn committed(&self, batches: usize, bytes: usize, took: Duration) {
        self.store_commits.inc();
        self.store_batches.inc_by(batches as u64);
        self.store_bytes.inc_by(bytes as u64);
        self.store_seconds.observe(took.as_secs_f64());
    }
}
