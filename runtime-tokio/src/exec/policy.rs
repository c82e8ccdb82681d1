//! What a worker allows: which executors, which targets, how fast, and the secrets that it knows. From the worker's
//! own configuration alone; a job can ask and not change it.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use tidegate_core::jobs::ExecutorKind;

use crate::config::{NodeFile, SecretSource};
use crate::jobfile::Origin;

/// A worker's own rules.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Executors that may run. `command` only where it is listed.
    pub executors: Vec<ExecutorKind>,
    /// Hosts that `http` may aim at; every host where there is no list.
    pub targets: Option<Vec<TargetRule>>,
    /// Most requests a second of all `http` shards of this worker together.
    pub max_rate: Option<u32>,
    /// Values for `{{secret.X}}`.
    pub secrets: Secrets,
    /// What `https` targets are checked against; the system's own certificates where `None`.
    pub roots: Option<Arc<RootCertStore>>,
    /// How often an execution reports.
    pub sample: Duration,
}

impl Default for Policy {
    /// `http` and `sleep`, to any target, without secrets.
    fn default() -> Self {
        Self {
            executors: vec![ExecutorKind::Http, ExecutorKind::Sleep],
            targets: None,
            max_rate: None,
            secrets: Secrets::default(),
            roots: None,
            sample: Duration::from_millis(250),
        }
    }
}

impl Policy {
    /// From a worker's configuration; reads its secrets. The error is for the operator and holds none of them.
    pub fn of(file: &NodeFile) -> Result<Self, String> {
        let rules =
            |texts: &Vec<String>| texts.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>();
        let secrets =
            file.secrets.iter().map(|(name, source)| Ok((name.clone(), read_secret(name, source)?)));
        Ok(Self {
            executors: file.offer.executors.clone(),
            targets: file.http.allow_targets.as_ref().map(rules).transpose()?,
            max_rate: file.http.max_requests_per_second.map(NonZeroU32::get),
            secrets: Secrets::new(secrets.collect::<Result<Vec<_>, String>>()?),
            roots: None,
            sample: Duration::from_nanos(file.timing.progress_sample.as_nanos()),
        })
    }

    /// Whether `http` may aim there.
    pub fn allows(&self, origin: &Origin) -> bool {
        self.targets.as_ref().is_none_or(|rules| rules.iter().any(|rule| rule.matches(origin)))
    }
}

fn read_secret(name: &str, source: &SecretSource) -> Result<String, String> {
    match source {
        SecretSource::Env(variable) => std::env::var(variable)
            .map_err(|_| format!("secret {name}: the variable {variable} is not set, or not text")),
        SecretSource::File(path) => match std::fs::read_to_string(path) {
            Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_string()),
            Err(error) => Err(format!("secret {name}: {}: {error}", path.display())),
        },
    }
}

/// `host`, `*.domain`, either with `:port`; an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRule {
    host: String,
    port: Option<u16>,
}

impl TargetRule {
    fn matches(&self, origin: &Origin) -> bool {
        let host = origin.host.to_ascii_lowercase();
        let same = match self.host.strip_prefix('*') {
            Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
            None => host == self.host,
        };
        same && self.port.is_none_or(|port| port == origin.port)
    }
}

impl FromStr for TargetRule {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no target: write host, host:port or *.domain");
        let (host, port) = match text.rsplit_once(':') {
            _ if text.ends_with(']') => (text, None),
            Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?)),
            None => (text, None),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let inner = bare.strip_prefix("*.").unwrap_or(bare);
        if inner.is_empty()
            || inner.contains(['*', '/', '@', ' '])
            || (inner.contains(':') && !host.starts_with('['))
        {
            return Err(wrong());
        }
        Ok(Self { host: bare.to_ascii_lowercase(), port })
    }
}

/// Secrets by name. Their values are never printed.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<String, String>);

impl Secrets {
    /// What the names of variables that hold secrets begin with: `{{secret.TOKEN}}` is in `TIDEGATE_SECRET_TOKEN`.
    pub const PREFIX: &str = "TIDEGATE_SECRET_";

    /// From names and values.
    pub fn new(secrets: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(secrets.into_iter().collect())
    }

    /// From this process's environment: how the embedded cluster, which has no configuration, gets them.
    pub fn from_env() -> Self {
        let named = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.to_str()?.strip_prefix(Self::PREFIX)?.to_string(), value.into_string().ok()?))
        };
        Self::new(std::env::vars_os().filter_map(named))
    }

    /// One value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Covers every value that occurs in a text.
    pub(super) fn mask(&self, text: &str) -> String {
        let mut values: Vec<&str> =
            self.0.values().map(String::as_str).filter(|value| !value.is_empty()).collect();
        // A longer secret may hold a shorter one.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.into_iter().fold(text.to_string(), |text, value| text.replace(value, "***"))
    }

    /// The longest value, in bytes.
    pub(super) fn longest(&self) -> usize {
        self.0.values().map(String::len).max().unwrap_or(0)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
