//! A run written down for people: what happened, where, and because of what.
//!
//! The recorder is a spectator that stands before the oracles, so the fact at which one fires is in the record. It
//! costs memory and time for every event, so it is there only when somebody asks for a story or a picture. Datagrams
//! are left out: they are many, and what they bring about is observed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use tidegate_core::api::{Answer, Request};
use tidegate_core::id::{JobId, RunId};
use tidegate_core::wire::Message;

use crate::plan::Scalar;
use crate::world::{Fact, HostIx, Interest, Scene, Spectator, Time, Violation, fields, name_of};

/// Longest text of a message that is searched for the job that it is about.
const TEXT_MAX: usize = 600;

/// What kind of thing happened: what pictures can be filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A message left.
    Send,
    /// A message arrived.
    Receive,
    /// A node said something.
    Observe,
    /// A client asked, was answered, or was told.
    Client,
    /// An execution was asked for, began or ended.
    Run,
    /// Rows became durable, or failed to.
    Write,
    /// A process began or ended.
    Process,
    /// A fault of the plan, and the healing of all.
    Fault,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub at: Time,
    /// Where.
    pub host: HostIx,
    /// Of which kind.
    pub kind: Kind,
    /// Its name: of the message, of the observation.
    pub name: String,
    /// The rest, for people.
    pub detail: String,
    /// The job that it is about.
    pub job: Option<String>,
    /// The event without which it would not have happened, as far as the record tells.
    pub cause: Option<usize>,
    /// Of a message: who is at the other end.
    pub peer: Option<HostIx>,
    /// What is known of the node from now on: under which name, and what. `None` ends it.
    pub state: Option<(String, Option<String>)>,
}

/// A fault for as long as it lasts.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its kind.
    pub kind: &'static str,
    /// To whom.
    pub host: HostIx,
    /// From when.
    pub from: Time,
    /// Until when.
    pub to: Time,
}

/// A run.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Names of nodes and clients, by place.
    pub hosts: Vec<String>,
    /// How many of them are nodes.
    pub nodes: usize,
    /// Everything, in order.
    pub events: Vec<Event>,
    /// Faults.
    pub faults: Vec<Span>,
    /// What an oracle found at the end.
    pub violation: Option<Violation>,
    names: BTreeMap<JobId, String>,
}

impl Record {
    /// What was last known of a host before an event and with it, by name.
    pub fn state(&self, host: HostIx, upto: usize) -> BTreeMap<&str, &str> {
        let mut state = BTreeMap::new();
        for event in self.events.iter().take(upto + 1).filter(|event| event.host == host) {
            if event.kind == Kind::Process {
                state.clear();
            }
            match &event.state {
                Some((name, Some(value))) => drop(state.insert(name.as_str(), value.as_str())),
                Some((name, None)) => drop(state.remove(name.as_str())),
                None => {}
            }
        }
        state
    }

    /// Jobs by their names in the plan, wherever an id stands.
    fn name_jobs(&mut self) {
        let names: BTreeMap<String, &String> =
            self.names.iter().map(|(job, name)| (job.to_string(), name)).collect();
        let named = |text: &mut String| {
            if text.len() >= 32 {
                *text = replace_ids(text, &names);
            }
        };
        for event in &mut self.events {
            named(&mut event.detail);
            event.job.as_mut().map(named);
            if let Some((name, value)) = &mut event.state {
                named(name);
                value.as_mut().map(named);
            }
        }
    }
}

fn replace_ids(text: &str, names: &BTreeMap<String, &String>) -> String {
    let mut out = text.to_string();
    for (id, name) in names {
        if out.contains(id.as_str()) {
            out = out.replace(id.as_str(), name);
        }
    }
    out
}

/// What the recorder knows in the middle of a run.
#[derive(Debug, Default)]
struct Desk {
    record: Record,
    /// Messages on their way, by what they are.
    under_way: HashMap<(HostIx, HostIx, u64), VecDeque<usize>>,
    /// What set off the step that a host is in.
    heads: HashMap<HostIx, (Time, usize)>,
    /// The last event of a host about a job, and the last of any.
    last_about: HashMap<(HostIx, JobId), usize>,
    last: HashMap<HostIx, usize>,
    /// The last event of each execution.
    runs: HashMap<RunId, usize>,
    /// The client's last call to a gate.
    calls: HashMap<(HostIx, HostIx), usize>,
    jobs: BTreeSet<JobId>,
}

/// Writes a run down; shared with whoever reads it after the run.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Rc<RefCell<Desk>>);

impl Recorder {
    /// What was written.
    pub fn take(&self, violation: Option<Violation>) -> Record {
        let mut record = self.0.take().record;
        let end = record.events.last().map_or(0, |event| event.at);
        for span in &mut record.faults {
            span.to = span.to.min(end);
        }
        record.violation = violation;
        record.name_jobs();
        record
    }
}

impl Spectator for Recorder {
    fn name(&self) -> &'static str {
        "record"
    }

    fn interest(&self) -> Interest {
        let runs = Interest::RUNS.and(Interest::CALLS).and(Interest::PUSHES).and(Interest::RESULTS);
        let nodes = Interest::PROCESSES.and(Interest::OBSERVATIONS).and(Interest::MESSAGES);
        runs.and(nodes).and(Interest::WRITES).and(Interest::FAULTS)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        self.0.borrow_mut().see(scene, fact);
        Ok(())
    }
}

/// An event without what follows from where it stands.
fn event(scene: &Scene, host: HostIx, kind: Kind, name: &str, detail: String) -> Event {
    Event {
        at: scene.now,
        host,
        kind,
        name: name.to_string(),
        detail,
        job: None,
        cause: None,
        peer: None,
        state: None,
    }
}

impl Desk {
    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) {
        if self.record.hosts.is_empty() {
            self.record.hosts = scene.hosts.iter().map(|host| host.name.clone()).collect();
            self.record.nodes = scene.nodes;
        }
        match fact {
            Fact::Sent { from, to, message, .. } => self.sent(scene, *from, *to, message),
            Fact::Arrived { from, to, message } => self.arrived(scene, *from, *to, message),
            Fact::Observed { host, observation } => self.observed(scene, *host, observation),
            Fact::Called { client, gate, request } => self.called(scene, *client, *gate, request),
            Fact::Answered { client, gate, request, answer } => {
                self.answered(scene, *client, *gate, request, answer);
            }
            Fact::Pushed { client, gate, event: pushed, .. } => {
                let name = format!("event {}", name_of(&pushed.kind).as_str());
                self.told(scene, *client, *gate, &name, Some(pushed.job));
            }
            Fact::ResultRead { client, gate, result } => {
                let name = format!("result {}", result.status.as_str());
                self.told(scene, *client, *gate, &name, Some(result.job));
                self.learn_names(scene);
            }
            Fact::Accepted { .. } => self.learn_names(scene),
            Fact::RunAsked { host, run, .. } => self.run(scene, *host, *run, "asked for"),
            Fact::RunBegan { host, run } => self.run(scene, *host, *run, "begins"),
            Fact::RunOver { host, run, outcome, .. } => {
                let how = outcome.map_or_else(|| "dies".to_string(), |outcome| format!("ends: {outcome:?}"));
                self.run(scene, *host, *run, &how);
            }
            Fact::Durable { host, writes } => {
                let new = event(scene, *host, Kind::Write, "durable", format!("{} rows", writes.len()));
                let cause = self.last.get(host).copied();
                self.head(Event { cause, ..new });
            }
            Fact::GreetingRefused { host, from, fault } => {
                let why = format!("of {}: {fault}", scene.name(*from));
                self.head(event(scene, *host, Kind::Receive, "greeting refused", why));
            }
            Fact::WriteFailed { host } => {
                self.head(event(scene, *host, Kind::Write, "write fails", String::new()));
            }
            Fact::Damaged { host } => {
                self.head(event(scene, *host, Kind::Receive, "damaged bytes", String::new()));
            }
            Fact::Began { host, boot } => {
                let new = event(scene, *host, Kind::Process, "begins", format!("start {boot}"));
                self.process(Event { state: Some(("process".into(), Some(format!("start {boot}")))), ..new });
            }
            Fact::Ended { host, end } => {
                let new = event(scene, *host, Kind::Process, "ends", format!("{end:?}"));
                self.process(Event { state: Some(("process".into(), Some("down".into()))), ..new });
            }
            Fact::Fault { fault, kind, host } => self.fault(scene, *fault, kind, *host),
            Fact::Healed => self.healed(scene),
            // What left a node is told with what becomes of it.
            Fact::Left { .. }
            | Fact::Given { .. }
            | Fact::Datagram { .. }
            | Fact::RunReported { .. }
            | Fact::Dropped { .. }
            | Fact::Looked { .. } => {}
        }
    }

    fn push(&mut self, event: Event, job: Option<JobId>) -> usize {
        let place = self.record.events.len();
        self.last.insert(event.host, place);
        if let Some(job) = job {
            self.last_about.insert((event.host, job), place);
            self.jobs.insert(job);
        }
        self.record.events.push(Event { job: job.map(|job| job.to_string()).or(event.job), ..event });
        place
    }

    /// An event that sets off a step.
    fn head(&mut self, event: Event) -> usize {
        let (at, host) = (event.at, event.host);
        let place = self.push(event, None);
        self.heads.insert(host, (at, place));
        place
    }

    /// What set off what a host does now: the head of its step; else what it last did about the same job.
    fn cause(&self, now: Time, host: HostIx, job: Option<JobId>) -> Option<usize> {
        let head = self.heads.get(&host).filter(|(at, _)| *at == now).map(|(_, place)| *place);
        head.or_else(|| self.last_about.get(&(host, job?)).copied())
    }

    fn sent(&mut self, scene: &Scene, from: HostIx, to: HostIx, message: &Message) {
        let job = job_of(message);
        let new = event(scene, from, Kind::Send, message.kind().as_str(), String::new());
        let cause = self.cause(scene.now, from, job);
        let place = self.push(Event { cause, peer: Some(to), ..new }, job);
        self.under_way.entry((from, to, hash_of(message))).or_default().push_back(place);
    }

    fn arrived(&mut self, scene: &Scene, from: HostIx, to: HostIx, message: &Message) {
        let job = job_of(message);
        let new = event(scene, to, Kind::Receive, message.kind().as_str(), String::new());
        let cause = self.under_way.get_mut(&(from, to, hash_of(message))).and_then(VecDeque::pop_front);
        let place = self.push(Event { cause, peer: Some(from), ..new }, job);
        self.heads.insert(to, (scene.now, place));
    }

    fn observed(&mut self, scene: &Scene, host: HostIx, observation: &tidegate_core::Observation) {
        let name = name_of(observation).as_str().to_string();
        let all = fields(scene, observation);
        let job = match all.get("job").or_else(|| all.get("value")) {
            Some(Scalar::Text(text)) => text.parse::<JobId>().ok().or_else(|| scene.job(text)),
            _ => None,
        };
        let words: Vec<String> =
            all.iter().map(|(name, value)| format!("{name} {}", text_of(value))).collect();
        let cause = self.cause(scene.now, host, job);
        let new = event(scene, host, Kind::Observe, &name, words.join(", ").replace("value ", ""));
        let state = Some(state_of(&name, &all));
        self.push(Event { cause, state, ..new }, job);
    }

    fn called(&mut self, scene: &Scene, client: HostIx, gate: HostIx, request: &Request) {
        let what = name_of(request).as_str().to_string();
        let job = match request {
            Request::Submit { spec, .. } => scene.job(&spec.name),
            other => job_in(&format!("{other:?}")),
        };
        let named = match request {
            Request::Submit { spec, .. } => spec.name.clone(),
            _ => String::new(),
        };
        let asks = event(scene, client, Kind::Client, &format!("asks {what}"), named.clone());
        let cause = self.last.get(&client).copied();
        let asked = self.push(Event { cause, peer: Some(gate), ..asks }, job);
        let new = event(scene, gate, Kind::Client, &format!("call {what}"), named);
        let place = self.push(Event { cause: Some(asked), peer: Some(client), ..new }, job);
        self.heads.insert(gate, (scene.now, place));
        self.calls.insert((client, gate), place);
    }

    fn answered(&mut self, scene: &Scene, client: HostIx, gate: HostIx, request: &Request, answer: &Answer) {
        let name = format!("answer {}", name_of(answer).as_str());
        let job = match (request, answer) {
            (_, Answer::Submitted(submitted)) => Some(submitted.job),
            (other, _) => job_in(&format!("{other:?}")),
        };
        let detail = match answer {
            Answer::Fault(fault) => format!("{:?}: {}", fault.code, fault.detail),
            Answer::Status(view) => view.status.as_str().to_string(),
            _ => String::new(),
        };
        let place = self.told(scene, client, gate, &name, job);
        self.record.events[place].detail = detail;
        self.learn_names(scene);
    }

    /// A client is told something by a gate: because of the last thing that the gate did about the job and that can
    /// have reached the client by now; else because the client asked.
    fn told(&mut self, scene: &Scene, client: HostIx, gate: HostIx, name: &str, job: Option<JobId>) -> usize {
        let link = scene.plan.network.link(&scene.hosts[gate].region, &scene.hosts[client].region);
        let sent_by = scene.now.saturating_sub(link.latency_us * 1_000);
        let named = job.map(|job| job.to_string());
        let events = self.record.events.iter().enumerate().rev().take(4_000);
        let last = events
            .filter(|(_, event)| event.host == gate && event.job.is_some() && event.job == named)
            .find(|(_, event)| event.at <= sent_by)
            .map(|(place, _)| place);
        let cause = last.or_else(|| self.calls.get(&(client, gate)).copied());
        let new = event(scene, client, Kind::Client, name, String::new());
        self.push(Event { cause, peer: Some(gate), ..new }, job)
    }

    fn run(&mut self, scene: &Scene, host: HostIx, run: RunId, how: &str) {
        let which =
            format!("workflow {} shard {} attempt {}", run.shard.workflow, run.shard.shard, run.attempt);
        let cause = match self.runs.get(&run) {
            Some(place) => Some(*place),
            None => self.cause(scene.now, host, Some(run.shard.job)),
        };
        let new = event(scene, host, Kind::Run, &format!("run {how}"), which.clone());
        let state = Some((format!("run {} {which}", run.shard.job), Some(how.to_string())));
        let place = self.push(Event { cause, state, ..new }, Some(run.shard.job));
        self.runs.insert(run, place);
        if how != "asked for" {
            self.heads.insert(host, (scene.now, place));
        }
    }

    fn process(&mut self, new: Event) {
        let head = self.heads.get(&new.host).filter(|(at, _)| *at == new.at).map(|(_, place)| *place);
        let cause = head.or_else(|| self.last.get(&new.host).copied());
        let new = Event { cause, ..new };
        self.head(new);
    }

    fn fault(&mut self, scene: &Scene, fault: usize, kind: &'static str, host: HostIx) {
        let plan = &scene.plan.faults[fault];
        let until = plan.for_ms.map_or(Time::MAX, |ms| scene.now + ms * 1_000_000);
        let healed = if scene.healed { Time::MAX } else { scene.plan.run.faults_end_ms * 1_000_000 };
        let instant =
            matches!(kind, "reset" | "restart" | "wall_jump" | "garbage" | "disk_wipe" | "disk_restore");
        let to = if instant { scene.now } else { until.min(healed) };
        self.record.faults.push(Span { kind, host, from: scene.now, to });
        let lasts = plan.for_ms.filter(|_| !instant).map(|ms| format!("for {ms} ms")).unwrap_or_default();
        let place = self.head(event(scene, host, Kind::Fault, kind, lasts));
        self.move_before_its_effects(place);
    }

    /// What a fault does to a process is told before the fault itself: puts it where it belongs, as their cause.
    fn move_before_its_effects(&mut self, fault: usize) {
        let Event { at, host, .. } = self.record.events[fault];
        let is_effect = |event: &Event| {
            event.at == at && event.host == host && matches!(event.kind, Kind::Process | Kind::Run)
        };
        let effects = self.record.events[..fault].iter().rev().take_while(|event| is_effect(event)).count();
        if effects == 0 {
            return;
        }
        let first = fault - effects;
        self.record.events[first..=fault].rotate_right(1);
        let moved = |place: &mut usize| {
            if *place == fault {
                *place = first;
            } else if *place >= first {
                *place += 1;
            }
        };
        for event in &mut self.record.events[first + 1..=fault] {
            event.cause.as_mut().map(moved);
            if event.kind == Kind::Process {
                event.cause = Some(first);
            }
        }
        self.last.values_mut().for_each(moved);
        self.last_about.values_mut().for_each(moved);
        self.runs.values_mut().for_each(moved);
        self.heads.values_mut().for_each(|(_, place)| moved(place));
        // What the host does next follows from what the fault has done to it.
        self.heads.insert(host, (at, fault));
        self.last.insert(host, fault);
    }

    fn healed(&mut self, scene: &Scene) {
        for host in 0..scene.nodes {
            let new = event(scene, host, Kind::Fault, "healed", String::new());
            self.head(new);
        }
    }

    fn learn_names(&mut self, scene: &Scene) {
        for job in &self.jobs {
            let name = scene.job_name(*job);
            if name != job.to_string() {
                self.record.names.insert(*job, name);
            }
        }
    }
}

fn text_of(value: &Scalar) -> String {
    match value {
        Scalar::Bool(yes) => yes.to_string(),
        Scalar::Number(number) => number.to_string(),
        Scalar::Text(text) => text.clone(),
    }
}

/// What an observation tells of its node: about which subject, and what.
fn state_of(name: &str, fields: &BTreeMap<String, Scalar>) -> (String, Option<String>) {
    const SUBJECTS: &[&str] = &["job", "workflow", "shard", "dc", "node"];
    let first = |fields: &BTreeMap<String, Scalar>| fields.get("value").map(text_of).unwrap_or_default();
    match name {
        "Active" | "Isolated" | "Draining" => return ("is".into(), Some(name.to_lowercase())),
        "BecameLeader" => return ("leads".into(), Some(format!("term {}", first(fields)))),
        "LostLeadership" => return ("leads".into(), None),
        _ => {}
    }
    let subject: Vec<String> = SUBJECTS
        .iter()
        .filter_map(|subject| Some(format!("{subject} {}", text_of(fields.get(*subject)?))))
        .collect();
    let rest: Vec<String> = fields
        .iter()
        .filter(|(field, _)| !SUBJECTS.contains(&field.as_str()))
        .map(|(field, value)| match field.as_str() {
            "value" => text_of(value),
            field => format!("{field} {}", text_of(value)),
        })
        .collect();
    let value = if rest.is_empty() { "yes".to_string() } else { rest.join(", ") };
    let key = [vec![name.to_string()], subject].concat().join(" ");
    (key, Some(value))
}

fn hash_of(message: &Message) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.hash(&mut hasher);
    hasher.finish()
}

/// The first part of what `Debug` writes.
struct Head(String);

impl fmt::Write for Head {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() > TEXT_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

fn job_of(message: &Message) -> Option<JobId> {
    let mut head = Head(String::new());
    // The error is the end of what is of interest.
    let _ = write!(head, "{message:?}");
    job_in(&head.0)
}

/// The job that a value names first, by its `Debug` text.
fn job_in(text: &str) -> Option<JobId> {
    text.match_indices("job: ").find_map(|(at, field)| text.get(at + field.len()..)?.get(..32)?.parse().ok())
}
