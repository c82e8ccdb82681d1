//! From the file as written to settings that can be used: the rules between fields.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use tidegate_core::config::{Limits, Offer, Timing};
use tidegate_core::id::{DcId, Role};
use tidegate_core::jobs::ExecutorKind;
use tidegate_core::wire::{Feature, Features};
use toml::Spanned;
use tracing_subscriber::filter::Targets;

use super::schema::{
    ApiSection, DatacenterSection, ExecutorName, FeatureName, File, HttpPolicy, LogFormatName, MemberSection,
    SecretSource, TokenRole, TokenSection, WorkerSection,
};

/// A node's configuration, checked.
#[derive(Clone, Debug)]
pub struct NodeFile {
    /// The cluster.
    pub cluster: String,
    /// What the node does.
    pub role: Role,
    /// Its datacenter; [`DcId::NONE`] for gates.
    pub dc: DcId,
    /// Its name.
    pub name: String,
    /// Where its rows are.
    pub data_dir: PathBuf,
    /// Where it listens, TCP and UDP.
    pub listen: SocketAddr,
    /// How others reach it.
    pub advertise: String,
    /// Allows a tier of two voters.
    pub allow_two_voters: bool,
    /// What it does not use with other nodes, although its version could.
    pub without: Features,
    /// PEM: certificates that are trusted to name nodes.
    pub authority: PathBuf,
    /// PEM: the node's certificate chain.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// The gossip keys.
    pub gossip_key_file: PathBuf,
    /// The HTTP API (gates).
    pub api: Option<ApiSettings>,
    /// Who else there is.
    pub roster: NamedRoster,
    /// What the node offers (workers).
    pub offer: Offer,
    /// What its `http` executor may do (workers).
    pub http: HttpPolicy,
    /// Secrets that job files may name (workers).
    pub secrets: BTreeMap<String, SecretSource>,
    /// Waits and periods.
    pub timing: Timing,
    /// Bounds.
    pub limits: Limits,
    /// What is logged, and how.
    pub log: LogSettings,
}

/// A gate's HTTP API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// PEM: certificate chain and key, where it speaks TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Who may call. With none, which is allowed on loopback only, everybody is an operator.
    pub tokens: Vec<TokenSource>,
}

/// A token of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSource {
    /// Whose jobs it submits.
    pub tenant: String,
    /// Whether it may see and cancel the jobs of every tenant.
    pub operator: bool,
    /// Where the token is.
    pub source: SecretSource,
}

/// A configured node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// `host:port` of its TCP and UDP.
    pub address: String,
}

/// A configured datacenter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedDatacenter {
    /// Its name.
    pub dc: DcId,
    /// With which others it is judged together.
    pub region: DcId,
    /// Its managers.
    pub managers: Vec<Member>,
}

/// Who there is, by name and address, as far as the node's role is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedRoster {
    /// The gates.
    pub gates: Vec<Member>,
    /// The datacenters.
    pub datacenters: Vec<NamedDatacenter>,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// Which events, as `level` or `target=level`, separated by commas.
    pub filter: Targets,
    /// As what.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A rule that is broken, and where.
pub(super) struct Wrong {
    pub(super) span: Option<Range<usize>>,
    pub(super) message: String,
}

fn wrong<T>(span: Range<usize>, message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { span: Some(span), message: message.into() })
}

fn nowhere<T>(message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { span: None, message: message.into() })
}

pub(super) fn check(path: &Path, file: File, role: Role) -> Result<NodeFile, Wrong> {
    let base = path.parent().unwrap_or(Path::new(""));
    let dc = check_dc(&file, role)?;
    let roster = check_roster(&file, role, dc)?;
    let advertise = check_advertise(&file, role, &roster, dc)?;
    let (offer, http, secrets) = check_worker(file.worker, role, base)?;
    let mut timing = Timing::for_role(role);
    if let Some(section) = file.timing {
        let span = section.span();
        section.into_inner().apply(&mut timing);
        check_timing(&timing, span)?;
    }
    let mut limits = Limits::default();
    file.limits.apply(&mut limits);
    let filter = match file.log.filter.get_ref().parse() {
        Ok(filter) => filter,
        Err(_) => {
            let hint = "write a level (error, warn, info, debug, trace) or target=level, separated by commas";
            return wrong(file.log.filter.span(), format!("no filter; {hint}"));
        }
    };
    let format = match file.log.format {
        LogFormatName::Text => LogFormat::Text,
        LogFormatName::Json => LogFormat::Json,
    };
    Ok(NodeFile {
        cluster: file.cluster.0,
        role,
        dc,
        name: file.name.into_inner().0,
        data_dir: base.join(file.data_dir),
        listen: file.listen.into_inner().0,
        advertise,
        allow_two_voters: file.allow_two_voters,
        without: Features::named(file.without.iter().map(|feature| {
            let feature = match feature {
                FeatureName::Coordinates => Feature::Coordinates,
                FeatureName::GateViews => Feature::GateViews,
            };
            feature.as_str()
        })),
        authority: base.join(file.tls.authority),
        certificate: base.join(file.tls.certificate),
        key: base.join(file.tls.key),
        gossip_key_file: base.join(file.gossip.key_file),
        api: check_api(file.api, role, base)?,
        roster,
        offer,
        http,
        secrets,
        timing,
        limits,
        log: LogSettings { filter, format },
    })
}

fn check_dc(file: &File, role: Role) -> Result<DcId, Wrong> {
    match (role, &file.dc) {
        (Role::Gate, None) => Ok(DcId::NONE),
        (Role::Gate, Some(dc)) => wrong(dc.span(), "a gate stands above the datacenters; leave `dc` out"),
        (_, Some(dc)) => Ok(dc.get_ref().0),
        (_, None) => nowhere(format!("a {} belongs to a datacenter; add dc = \"NAME\"", role.as_str())),
    }
}

fn members(sections: &[MemberSection], what: &str) -> Result<Vec<Member>, Wrong> {
    let (mut names, mut addresses) = (HashSet::new(), HashSet::new());
    for section in sections {
        let name = &section.name.get_ref().0;
        if !names.insert(name) {
            return wrong(section.name.span(), format!("two {what} are named {name:?}; names must differ"));
        }
        if !addresses.insert(&section.address.0) {
            return wrong(section.name.span(), format!("{name:?} has the address of another of the {what}"));
        }
    }
    let member = |section: &MemberSection| Member {
        name: section.name.get_ref().0.clone(),
        address: section.address.0.clone(),
    };
    Ok(sections.iter().map(member).collect())
}

/// The part of the cluster that concerns the role: see [`tidegate_core::config::Roster`].
fn check_roster(file: &File, role: Role, dc: DcId) -> Result<NamedRoster, Wrong> {
    let mut gates = members(&file.gates, "gates")?;
    let mut seen = HashSet::new();
    let mut datacenters = Vec::new();
    for section in &file.datacenters {
        let DatacenterSection { name, region, managers } = section;
        if !seen.insert(name.get_ref().0) {
            return wrong(name.span(), format!("two datacenters are named \"{}\"", name.get_ref().0));
        }
        if managers.is_empty() {
            return wrong(name.span(), format!("datacenter \"{}\" has no managers", name.get_ref().0));
        }
        let dc = name.get_ref().0;
        let region = region.as_ref().map_or(dc, |region| region.0);
        datacenters.push(NamedDatacenter { dc, region, managers: members(managers, "managers")? });
    }
    if role != Role::Gate {
        datacenters.retain(|known| known.dc == dc);
        if datacenters.is_empty() {
            let span = file.dc.as_ref().map(Spanned::span);
            let message = format!(
                "datacenter \"{dc}\" is not listed; add a [[datacenters]] of this name with its managers"
            );
            return Err(Wrong { span, message });
        }
    }
    if role == Role::Worker {
        gates.clear();
    } else if gates.is_empty() {
        return nowhere("no gates are listed; add a [[gates]] with name and address for each");
    }
    if role == Role::Gate && datacenters.is_empty() {
        return nowhere("no datacenters are listed; add a [[datacenters]] with its managers for each");
    }
    let roster = NamedRoster { gates, datacenters };
    check_voters(file, role, &roster, dc)?;
    Ok(roster)
}

/// The node's own tier: it must be in it, and two voters need a word.
fn check_voters(file: &File, role: Role, roster: &NamedRoster, dc: DcId) -> Result<(), Wrong> {
    let Some(tier) = roster.tier(role, dc) else { return Ok(()) };
    let name = file.name.get_ref();
    if !tier.iter().any(|member| member.name == name.0) {
        let message = format!("{} {:?} is not among the listed {}s", role.as_str(), name.0, role.as_str());
        return wrong(file.name.span(), message);
    }
    if tier.len() == 2 && !file.allow_two_voters {
        return nowhere(format!(
            "two {}s form a tier that the loss of either one stops; have one or three, or set allow_two_voters = true",
            role.as_str()
        ));
    }
    Ok(())
}

impl NamedRoster {
    /// The voters of the node's own tier; `None` for workers, who vote nowhere.
    pub fn tier(&self, role: Role, dc: DcId) -> Option<&[Member]> {
        match role {
            Role::Gate => Some(&self.gates),
            Role::Manager => {
                self.datacenters.iter().find(|known| known.dc == dc).map(|known| &*known.managers)
            }
            Role::Worker => None,
        }
    }
}

/// How others reach the node: as they are told to, in the roster; a worker, whom no roster names, says it itself.
fn check_advertise(file: &File, role: Role, roster: &NamedRoster, dc: DcId) -> Result<String, Wrong> {
    let name = &file.name.get_ref().0;
    let listed = roster.tier(role, dc).and_then(|tier| tier.iter().find(|member| member.name == *name));
    if let Some(me) = listed {
        return match &file.advertise {
            Some(said) if said.get_ref().0 != me.address => wrong(
                said.span(),
                format!(
                    "the list of {}s has {:?} for this node; both must be the same",
                    role.as_str(),
                    me.address
                ),
            ),
            _ => Ok(me.address.clone()),
        };
    }
    let listen = file.listen.get_ref().0;
    match &file.advertise {
        Some(said) => Ok(said.get_ref().0.clone()),
        None if listen.ip().is_unspecified() => {
            wrong(file.listen.span(), "others cannot reach this address; add advertise = \"host:port\"")
        }
        None => Ok(listen.to_string()),
    }
}

type WorkerSettings = (Offer, HttpPolicy, BTreeMap<String, SecretSource>);

fn check_worker(
    section: Option<Spanned<WorkerSection>>,
    role: Role,
    base: &Path,
) -> Result<WorkerSettings, Wrong> {
    match (role, &section) {
        (Role::Worker, _) => {}
        (_, Some(section)) => {
            return wrong(
                section.span(),
                format!("a {} executes nothing; leave [worker] out", role.as_str()),
            );
        }
        (_, None) => return Ok((Offer::default(), HttpPolicy::default(), BTreeMap::new())),
    }
    let section = section.map(Spanned::into_inner).unwrap_or_default();
    let cores = match section.cores {
        Some(cores) if *cores.get_ref() == 0 => {
            return wrong(cores.span(), "a worker needs at least one core");
        }
        Some(cores) => cores.into_inner(),
        None => available_parallelism().map_or(1, |cores| u16::try_from(cores.get()).unwrap_or(u16::MAX)),
    };
    let listed = section.executors.unwrap_or_else(|| vec![ExecutorName::Http, ExecutorName::Sleep]);
    let mut executors: Vec<_> = listed
        .into_iter()
        .map(|name| match name {
            ExecutorName::Http => ExecutorKind::Http,
            ExecutorName::Command => ExecutorKind::Command,
            ExecutorName::Sleep => ExecutorKind::Sleep,
        })
        .collect();
    executors.sort_unstable();
    executors.dedup();
    if executors.is_empty() {
        return nowhere(
            "a worker without executors can do nothing; list some, as in executors = [\"http\", \"sleep\"]",
        );
    }
    let mut secrets = section.secrets;
    secrets.values_mut().for_each(|secret| absolute(secret, base));
    Ok((Offer { cores, executors }, section.http, secrets))
}

fn absolute(secret: &mut SecretSource, base: &Path) {
    if let SecretSource::File(path) = secret {
        *path = base.join(&path);
    }
}

/// Rules between waits, without which a healthy cluster would hurt itself.
fn check_timing(timing: &Timing, span: Range<usize>) -> Result<(), Wrong> {
    let zero = |span: tidegate_core::Duration| span.as_nanos() == 0;
    if [timing.swim_period, timing.log_tick, timing.lease_renew, timing.worker_heartbeat]
        .into_iter()
        .any(zero)
    {
        return wrong(span, "a period cannot be 0");
    }
    if timing.swim_probe_timeout >= timing.swim_period {
        return wrong(span, "swim_probe_timeout must be shorter than swim_period");
    }
    if timing.lease_renew.scale(3, 1) > timing.lease_ttl {
        return wrong(span, "lease_renew must be at most a third of lease_ttl: a renewal may be lost twice");
    }
    if timing.log_tick.scale(2, 1) > timing.leader_silence {
        return wrong(span, "leader_silence must be at least twice log_tick: a heartbeat may be lost");
    }
    if timing.progress_flush.scale(4, 1) > timing.run_silence {
        return wrong(span, "run_silence must be at least four times progress_flush: a report may be late");
    }
    if timing.backoff_base > timing.backoff_cap {
        return wrong(span, "backoff_base must not be longer than backoff_cap");
    }
    Ok(())
}

fn check_api(
    section: Option<Spanned<ApiSection>>,
    role: Role,
    base: &Path,
) -> Result<Option<ApiSettings>, Wrong> {
    let Some(section) = section else {
        return match role {
            Role::Gate => nowhere("a gate serves an API; add [api] with listen = \"127.0.0.1:PORT\""),
            _ => Ok(None),
        };
    };
    let span = section.span();
    if role != Role::Gate {
        return wrong(span, format!("a {} serves no API; leave [api] out", role.as_str()));
    }
    let section = section.into_inner();
    let tls = match (section.certificate, section.key) {
        (Some(certificate), Some(key)) => Some((base.join(certificate), base.join(key))),
        (None, None) => None,
        _ => return wrong(span, "certificate and key belong together; give both or none"),
    };
    let tokens =
        section.tokens.into_iter().map(|token| check_token(token, base)).collect::<Result<Vec<_>, _>>()?;
    let listen = section.listen.0;
    if !listen.ip().is_loopback() && (tls.is_none() || tokens.is_empty()) {
        return wrong(
            span,
            format!(
                "{listen} can be reached from other machines: it needs certificate, key and at least one token"
            ),
        );
    }
    Ok(Some(ApiSettings { listen, tls, tokens }))
}

fn check_token(section: Spanned<TokenSection>, base: &Path) -> Result<TokenSource, Wrong> {
    let span = section.span();
    let TokenSection { tenant, role, file, env } = section.into_inner();
    let source = match (file, env) {
        (Some(file), None) => SecretSource::File(base.join(file)),
        (None, Some(env)) => SecretSource::Env(env),
        _ => return wrong(span, "a token is read from a file or from the environment; give `file` or `env`"),
    };
    Ok(TokenSource { tenant: tenant.0, operator: role == TokenRole::Operator, source })
}
