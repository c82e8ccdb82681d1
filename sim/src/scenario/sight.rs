//! Facts as names and fields: what expectations are compared with.
//!
//! | name | by | fields |
//! |---|---|---|
//! | an observation's (`DcAccepted`) | who observes | the observation's |
//! | `Message.` and its kind (`Message.DcFinal`), as it arrives | sender, receiver | `from`, `to`, and the message's own: see [`super::message`] |
//! | `Datagram.` and its kind (`Datagram.Ping`), as it arrives | sender, receiver | `from`, `to`, `target`, `facts` (how many), and of each fact `NODE.claim`, `NODE.boot`, `NODE.refutes` |
//! | `Call.` and its kind (`Call.Submit`), as the gate reads it | client, gate | `client`, `gate` |
//! | `Answer.` and its kind (`Answer.Fault`), as the client reads it | client, gate | `client`, `gate`, `question`, and the answer's own: see [`super::answer`] |
//! | `Event.` and its kind (`Event.Final`), as the client reads it | client, gate | `client`, `gate`, `job`, `kept`, and the event's own |
//! | `Result`: a client has the result | client, gate | `job`, `status`, `requests`, `ok`, `err`, `dcs`, `missing`, `lost_attempts`, `uncovered_vu_ms`, `cancelled`, `killed` |
//! | `Run.Began`, `Run.Over` | the worker | `job`, `workflow`, `dc`, `shard`, `attempt`, `outcome` |
//! | `Process.Began`, `Process.Ended` | the node | `boot`, `end` |
//! | `Greeting.Refused` | who refuses, whom | `from`, `to`, `code`, `detail` |
//! | `Fault` | whom it hit | `kind` |
//! | `Look`: what a node holds, every `run.look_every_ms` | the node | as `tidegate_core::census::Census` |

use std::collections::BTreeMap;

use tidegate_core::api::{ClientEvent, ClientEventKind};
use tidegate_core::census::Census;
use tidegate_core::id::RunId;
use tidegate_core::jobs::{JobResult, WorkflowReport};
use tidegate_core::swim::{Body, Packet};
use tidegate_core::wire::Kind;

use crate::known;
use crate::plan::Scalar;
use crate::world::{Fact, HostIx, Interest, Scene, fields as observation_fields, name_of};

/// A fact, seen as an expectation sees it.
pub struct Sight<'a> {
    fact: &'a Fact<'a>,
    name: String,
}

/// What names of facts begin with, where they have two parts.
const GROUPS: &[&str] = &["Message", "Datagram", "Call", "Answer", "Event", "Run", "Process", "Greeting"];
/// What datagrams are about, by the names of `tidegate_core::swim::Body`.
const DATAGRAMS: &[&str] = &["Ping", "Ack", "PingReq", "IndirectAck", "Nack", "Pull", "Page", "Rumours"];
/// What a client asks, by the names of `tidegate_core::api::Request`.
const CALLS: &[&str] = &["Submit", "Status", "List", "Cancel", "Result", "Events", "Datacenters", "Members"];
/// What it is answered, by the names of `tidegate_core::api::Answer`.
const ANSWERS: &[&str] = &[
    "Submitted",
    "Status",
    "Jobs",
    "CancelRecorded",
    "Result",
    "Stream",
    "NothingFollows",
    "Datacenters",
    "Members",
    "Fault",
];
/// What it is pushed, by the names of `tidegate_core::api::ClientEventKind`.
const EVENTS: &[&str] = &[
    "Accepted",
    "Status",
    "WorkflowResult",
    "Owner",
    "DcOwner",
    "CancelDone",
    "Final",
    "Progress",
    "StatsWindow",
    "Gap",
];

/// Which facts bear this name.
pub fn interest(name: &str) -> Interest {
    match name.split_once('.').map_or(name, |(group, _)| group) {
        "Message" => Interest::ARRIVALS,
        "Datagram" => Interest::SENDINGS,
        "Call" | "Answer" => Interest::CALLS,
        "Event" => Interest::PUSHES,
        "Result" => Interest::RESULTS,
        "Run" => Interest::RUNS,
        "Process" => Interest::PROCESSES,
        "Greeting" => Interest::GREETINGS,
        "Fault" => Interest::FAULTS,
        "Look" => Interest::LOOKS,
        _ => Interest::OBSERVATIONS,
    }
}

/// Whether a fact can bear this name.
pub fn check_name(name: &str) -> Result<(), String> {
    match name.split_once('.') {
        Some(("Message", kind)) => {
            let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
            known::check("message", kind, &kinds)
        }
        Some(("Datagram", kind)) => known::check("datagram", kind, DATAGRAMS),
        Some(("Call", kind)) => known::check("call", kind, CALLS),
        Some(("Answer", kind)) => known::check("answer", kind, ANSWERS),
        Some(("Event", kind)) => known::check("event", kind, EVENTS),
        Some(("Run", kind)) => known::check("Run", kind, &["Began", "Over"]),
        Some(("Process", kind)) => known::check("Process", kind, &["Began", "Ended"]),
        Some(("Greeting", kind)) => known::check("Greeting", kind, &["Refused"]),
        None if ["Result", "Fault", "Look"].contains(&name) => Ok(()),
        None if name.starts_with(|c: char| c.is_ascii_uppercase()) && !GROUPS.contains(&name) => {
            known::check("observation", name, known::observations().names)
        }
        _ => Err(format!(
            "{name:?} names no fact: write an observation (JobFinal), Message.KIND, Datagram.KIND, Call.KIND, Answer.KIND, Event.KIND, \
             Run.Began, Run.Over, Process.Began, Process.Ended, Greeting.Refused, Result, Fault or Look"
        )),
    }
}

/// Whether a fact of this name can have this field. Only of observations is that known beforehand.
pub fn check_field(name: &str, field: &str) -> Result<(), String> {
    if interest(name) != Interest::OBSERVATIONS {
        return Ok(());
    }
    known::check("field", field, &known::observations().fields)
}

impl<'a> Sight<'a> {
    /// `None` for facts that no expectation can name.
    pub fn of(fact: &'a Fact<'a>) -> Option<Self> {
        let name = match fact {
            Fact::Observed { observation, .. } => name_of(observation).as_str().to_string(),
            Fact::Arrived { message, .. } => format!("Message.{}", name_of(message).as_str()),
            Fact::Datagram { packet, .. } => format!("Datagram.{}", name_of(&packet.body).as_str()),
            Fact::Called { request, .. } => format!("Call.{}", name_of(request).as_str()),
            Fact::Looked { .. } => "Look".to_string(),
            Fact::Answered { answer, .. } => format!("Answer.{}", name_of(answer).as_str()),
            Fact::Pushed { event, .. } => format!("Event.{}", name_of(&event.kind).as_str()),
            Fact::ResultRead { .. } => "Result".to_string(),
            Fact::RunBegan { .. } => "Run.Began".to_string(),
            Fact::RunOver { .. } => "Run.Over".to_string(),
            Fact::Began { .. } => "Process.Began".to_string(),
            Fact::Ended { .. } => "Process.Ended".to_string(),
            Fact::GreetingRefused { .. } => "Greeting.Refused".to_string(),
            Fact::Fault { .. } => "Fault".to_string(),
            _ => return None,
        };
        Some(Self { fact, name })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who is in it.
    pub fn hosts(&self) -> impl Iterator<Item = HostIx> {
        let (first, second) = match self.fact {
            Fact::Arrived { from, to, .. } | Fact::Datagram { from, to, .. } => (*from, Some(*to)),
            Fact::GreetingRefused { host, from, .. } => (*host, Some(*from)),
            Fact::Called { client, gate, .. }
            | Fact::Answered { client, gate, .. }
            | Fact::Pushed { client, gate, .. }
            | Fact::ResultRead { client, gate, .. } => (*client, Some(*gate)),
            Fact::Observed { host, .. }
            | Fact::RunBegan { host, .. }
            | Fact::RunOver { host, .. }
            | Fact::Began { host, .. }
            | Fact::Ended { host, .. }
            | Fact::Fault { host, .. }
            | Fact::Looked { host, .. } => (*host, None),
            _ => return None.into_iter().chain(None),
        };
        Some(first).into_iter().chain(second)
    }

    /// Its fields, with the names of the plan.
    pub fn fields(&self, scene: &Scene) -> BTreeMap<String, Scalar> {
        let mut out = Fields(BTreeMap::new());
        match self.fact {
            Fact::Observed { observation, .. } => return observation_fields(scene, observation),
            Fact::Arrived { from, to, message } => {
                out.text("from", scene.name(*from));
                out.text("to", scene.name(*to));
                out.message(scene, message);
            }
            Fact::Datagram { from, to, packet } => {
                out.text("from", scene.name(*from));
                out.text("to", scene.name(*to));
                out.datagram(scene, packet);
            }
            Fact::Called { client, gate, .. } => out.pair(scene, *client, *gate),
            Fact::Looked { holds, .. } => out.census(holds),
            Fact::Answered { client, gate, request, answer } => {
                out.pair(scene, *client, *gate);
                out.text("question", name_of(request).as_str());
                out.answer(scene, answer);
            }
            Fact::Pushed { client, gate, event, .. } => {
                out.pair(scene, *client, *gate);
                out.event(scene, event);
            }
            Fact::ResultRead { client, gate, result } => {
                out.pair(scene, *client, *gate);
                out.result(scene, result);
            }
            Fact::RunBegan { run, .. } => out.run(scene, *run),
            Fact::RunOver { run, outcome, .. } => {
                out.run(scene, *run);
                out.text(
                    "outcome",
                    &outcome.map_or_else(|| "Died".to_string(), |outcome| format!("{outcome:?}")),
                );
            }
            Fact::Began { boot, .. } => out.number("boot", u64::from(*boot)),
            Fact::Ended { end, .. } => out.text("end", name_of(end).as_str()),
            Fact::GreetingRefused { host, from, fault } => {
                out.text("from", scene.name(*from));
                out.text("to", scene.name(*host));
                out.text("code", name_of(&fault.code).as_str());
                out.text("detail", &fault.detail);
            }
            Fact::Fault { kind, .. } => out.text("kind", kind),
            _ => {}
        }
        out.0
    }
}

/// Fields by name, as they are collected.
pub(super) struct Fields(pub(super) BTreeMap<String, Scalar>);

impl Fields {
    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.0.insert(name.to_string(), Scalar::Text(text.to_string()));
    }

    pub(super) fn number(&mut self, name: &str, number: u64) {
        self.0.insert(name.to_string(), Scalar::Number(i64::try_from(number).unwrap_or(i64::MAX)));
    }

    pub(super) fn yes(&mut self, name: &str, yes: bool) {
        self.0.insert(name.to_string(), Scalar::Bool(yes));
    }

    fn census(&mut self, holds: &Census) {
        let Census {
            jobs,
            tombstones,
            live_jobs,
            windows,
            volatile,
            callers,
            proposals,
            timers,
            leases,
            members,
            workers,
            cores,
        } = *holds;
        for (name, count) in [
            ("jobs", jobs),
            ("tombstones", tombstones),
            ("live_jobs", live_jobs),
            ("windows", windows),
            ("volatile", volatile),
            ("callers", callers),
            ("proposals", proposals),
            ("timers", timers),
            ("leases", leases),
            ("members", members),
            ("workers", workers),
            ("cores", cores),
        ] {
            self.number(name, count as u64);
        }
    }

    fn datagram(&mut self, scene: &Scene, packet: &Packet) {
        if let Body::Ping { target, .. } | Body::PingReq { target, .. } = packet.body {
            self.text("target", &scene.node_name(target));
        }
        self.number("facts", packet.facts.len() as u64);
        for fact in &packet.facts {
            let node = scene.node_name(fact.node);
            let number = fact.incarnation.raw();
            self.text(&format!("{node}.claim"), name_of(&fact.claim).as_str());
            self.number(&format!("{node}.boot"), number >> 32);
            self.number(&format!("{node}.refutes"), number & u64::from(u32::MAX));
        }
    }

    pub(super) fn pair(&mut self, scene: &Scene, client: HostIx, gate: HostIx) {
        self.text("client", scene.name(client));
        self.text("gate", scene.name(gate));
    }

    pub(super) fn run(&mut self, scene: &Scene, run: RunId) {
        self.text("job", &scene.job_name(run.shard.job));
        self.number("workflow", u64::from(run.shard.workflow.0));
        self.text("dc", run.shard.dc.as_str());
        self.number("shard", u64::from(run.shard.shard));
        self.number("attempt", u64::from(run.attempt.0));
    }

    fn event(&mut self, scene: &Scene, event: &ClientEvent) {
        self.text("job", &scene.job_name(event.job));
        self.number("kept", event.pos.kept);
        match &event.kind {
            ClientEventKind::Status { status, .. } => self.text("status", &format!("{status:?}")),
            ClientEventKind::WorkflowResult { workflow, dc, status, .. } => {
                self.number("workflow", u64::from(workflow.0));
                self.text("dc", dc.as_str());
                self.text("status", &format!("{status:?}"));
            }
            ClientEventKind::Accepted { targets } => self.number("targets", targets.len() as u64),
            ClientEventKind::Owner { owner, gate_epoch } => {
                self.text("owner", &scene.node_name(*owner));
                self.number("gate_epoch", gate_epoch.0);
            }
            ClientEventKind::DcOwner { dc, owner, dc_epoch } => {
                self.text("dc", dc.as_str());
                self.text("owner", &scene.node_name(*owner));
                self.number("dc_epoch", dc_epoch.0);
            }
            ClientEventKind::CancelDone { cancelled, killed } => {
                self.number("cancelled", u64::from(*cancelled));
                self.number("killed", u64::from(*killed));
            }
            ClientEventKind::Final(result) => self.result(scene, result),
            ClientEventKind::Gap { missed } => self.number("missed", u64::from(*missed)),
            ClientEventKind::Progress { per_dc, .. } => {
                self.number("dcs", per_dc.len() as u64);
                self.number("requests", per_dc.iter().map(|dc| dc.totals.requests()).sum());
                for dc in per_dc {
                    self.number(&format!("{}.requests", dc.dc), dc.totals.requests());
                }
            }
            ClientEventKind::StatsWindow { workflow, window, revision, complete } => {
                self.number("workflow", u64::from(workflow.0));
                self.number("no", u64::from(window.no));
                self.number("revision", u64::from(*revision));
                self.yes("complete", *complete);
            }
        }
    }

    pub(super) fn result(&mut self, scene: &Scene, result: &JobResult) {
        let totals = result.totals();
        let sum = |figure: fn(&WorkflowReport) -> u64| {
            result.per_dc.iter().flat_map(|dc| &dc.workflows).map(figure).sum::<u64>()
        };
        self.text("job", &scene.job_name(result.job));
        self.text("status", &format!("{:?}", result.status));
        self.number("requests", totals.requests());
        self.number("ok", totals.ok);
        self.number("err", totals.err);
        self.number("dcs", result.per_dc.len() as u64);
        self.number("missing", result.missing.len() as u64);
        self.number("lost_attempts", sum(|report| u64::from(report.lost_attempts)));
        self.number("uncovered_vu_ms", sum(|report| report.uncovered_vu_ms));
        self.number("cancelled", result.per_dc.iter().map(|dc| u64::from(dc.cancelled)).sum());
        self.number("killed", result.per_dc.iter().map(|dc| u64::from(dc.killed)).sum());
    }
}
