//! The configuration file as it is written: one schema for the three roles.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use tidegate_core::config::{Limits, Timing};
use toml::Spanned;

use super::values::{Address, DcName, Listen, Name, Span};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) cluster: Name,
    pub(super) name: Spanned<Name>,
    pub(super) dc: Option<Spanned<DcName>>,
    pub(super) data_dir: PathBuf,
    pub(super) listen: Spanned<Listen>,
    pub(super) advertise: Option<Spanned<Address>>,
    #[serde(default)]
    pub(super) allow_two_voters: bool,
    #[serde(default)]
    pub(super) without: Vec<FeatureName>,
    pub(super) tls: TlsSection,
    pub(super) gossip: GossipSection,
    pub(super) api: Option<Spanned<ApiSection>>,
    #[serde(default)]
    pub(super) gates: Vec<MemberSection>,
    #[serde(default)]
    pub(super) datacenters: Vec<DatacenterSection>,
    pub(super) worker: Option<Spanned<WorkerSection>>,
    #[serde(default)]
    pub(super) timing: Option<Spanned<TimingSection>>,
    #[serde(default)]
    pub(super) limits: LimitsSection,
    #[serde(default)]
    pub(super) log: LogSection,
}

/// A feature of connections, by its name in greetings.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FeatureName {
    Coordinates,
    GateViews,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsSection {
    pub(super) authority: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GossipSection {
    pub(super) key_file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApiSection {
    pub(super) listen: Listen,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    #[serde(default)]
    pub(super) tokens: Vec<Spanned<TokenSection>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenSection {
    pub(super) tenant: Name,
    pub(super) role: TokenRole,
    pub(super) file: Option<PathBuf>,
    pub(super) env: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum TokenRole {
    Tenant,
    Operator,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MemberSection {
    pub(super) name: Spanned<Name>,
    pub(super) address: Address,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DatacenterSection {
    pub(super) name: Spanned<DcName>,
    pub(super) region: Option<DcName>,
    pub(super) managers: Vec<MemberSection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkerSection {
    pub(super) cores: Option<Spanned<u16>>,
    pub(super) executors: Option<Vec<ExecutorName>>,
    #[serde(default)]
    pub(super) http: HttpPolicy,
    #[serde(default)]
    pub(super) secrets: BTreeMap<String, SecretSource>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ExecutorName {
    Http,
    Command,
    Sleep,
}

/// What a worker's `http` executor may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpPolicy {
    /// Hosts that may be loaded: `host`, `host:port`, or `*.domain`. Any, where there is no list.
    pub allow_targets: Option<Vec<String>>,
    /// Most requests a second of this worker, all jobs together.
    pub max_requests_per_second: Option<std::num::NonZeroU32>,
}

/// Where a worker finds a secret that job files name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum SecretSource {
    /// In this variable of its environment.
    Env(String),
    /// In this file; a trailing line end is not part of it.
    File(PathBuf),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogSection {
    #[serde(default = "default_filter")]
    pub(super) filter: Spanned<String>,
    #[serde(default)]
    pub(super) format: LogFormatName,
}

fn default_filter() -> Spanned<String> {
    Spanned::new(0..0, "info".to_owned())
}

impl Default for LogSection {
    fn default() -> Self {
        Self { filter: default_filter(), format: LogFormatName::Text }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogFormatName {
    #[default]
    Text,
    Json,
}

/// A section that replaces some fields of a core type.
macro_rules! overrides {
    ($section:ident for $target:ident { $($field:ident: $type:ty),+ $(,)? }) => {
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $section {
            $($field: Option<$type>,)+
        }

        impl $section {
            /// Replaces what the section sets.
            pub(super) fn apply(self, target: &mut $target) {
                // Names every field, so that a new one cannot be forgotten here.
                let $target { $($field),+ } = target;
                $(if let Some(given) = self.$field {
                    *$field = given.into();
                })+
            }
        }
    };
}

overrides! {
    TimingSection for Timing {
        swim_period: Span,
        swim_probe_timeout: Span,
        log_tick: Span,
        leader_silence: Span,
        lease_ttl: Span,
        lease_renew: Span,
        dc_heartbeat: Span,
        dc_progress: Span,
        push_progress: Span,
        progress_sample: Span,
        progress_flush: Span,
        worker_heartbeat: Span,
        request_timeout: Span,
        reconcile: Span,
        shard_hold: Span,
        abandon_target: Span,
        queue_deadline: Span,
        cancel_grace: Span,
        cancel_deadline: Span,
        orphan_grace: Span,
        no_gate_fallback: Span,
        retain_completed: Span,
        retain_other: Span,
        retain_undelivered: Span,
        manager_stale: Span,
        backoff_base: Span,
        backoff_cap: Span,
        drain_timeout: Span,
        start_lead: Span,
        run_silence: Span,
    }
}

overrides! {
    LimitsSection for Limits {
        jobs: u32,
        jobs_per_tenant: u32,
        streams_per_job: u16,
        event_ring: u16,
        window_ring: u16,
        tombstones: u32,
        calls: u32,
        worker_outbox: u16,
        log_keep: u32,
        image_rows: u16,
    }
}
