//! Simulated clients: the client machine of the core, one for each job or follower, over a lossy link.

use std::collections::BTreeMap;

use tidegate_core::api::{Answer, ClientEvent, ClientEventKind, EventPos, Identity, Request};
use tidegate_core::client::{Client as Machine, ClientConfig, Done, Goal, Input, Notice, Output};
use tidegate_core::id::{CallId, JobId};
use tidegate_core::time::{Duration, Instant, Now};

use super::clock::Time;
use super::facts::{Fact, HostIx, Scene};
use super::fate::{About, key};
use super::host::Actor;
use super::{Act, Item, Machine as Node, World};
use crate::plan::{JobPlan, Question, When};

/// A call whose connection cannot be had fails after this long, and up to as much again.
const REFUSED_AFTER: Time = 20_000_000;
/// After its end, a job's result is read at every gate after this long.
const READ_AFTER: Time = 500_000_000;
/// A client gives up only when the run has: the liveness oracle speaks first.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// What a task is for.
#[derive(Clone, Debug)]
enum Purpose {
    /// Submit the job and follow it.
    Run,
    /// Follow it from these gates, from after this event on.
    Follow { after: Option<EventPos> },
    /// Read its result once, at one gate.
    Read(JobId),
    /// Ask one gate something once; about a job that nobody knows, where it says so.
    Ask { question: Question, unknown_job: bool },
}

/// A job that nobody knows.
const NOBODYS: JobId = JobId([0x77; 16]);

impl Purpose {
    /// Whether one call is all of it, whatever comes of it.
    const fn is_one_call(&self) -> bool {
        matches!(self, Self::Read(_) | Self::Ask { .. })
    }

    /// Whether nothing comes of it without the job's id.
    const fn needs_id(&self) -> bool {
        match self {
            Self::Run => false,
            Self::Follow { .. } | Self::Read(_) => true,
            Self::Ask { question, unknown_job } => {
                !*unknown_job && matches!(question, Question::Status | Question::Result | Question::Cancel)
            }
        }
    }
}

/// One thing that a client does.
struct Task {
    /// Which job of the plan.
    label: String,
    purpose: Purpose,
    gates: Vec<HostIx>,
    machine: Option<Machine>,
    wants_cancel: bool,
    /// It was asked to begin, and waits for the job's id.
    waits: bool,
    /// It begins on an observation.
    on_seen: bool,
    wake: Time,
    over: bool,
}

/// A call on its way or open.
struct Open {
    task: usize,
    inner: CallId,
    gate: HostIx,
    request: Request,
}

/// A client program.
pub(super) struct Client {
    jobs: Vec<JobPlan>,
    tasks: Vec<Task>,
    calls: BTreeMap<CallId, Open>,
    calls_made: u32,
    loss_permille: u16,
    all_gates: Vec<HostIx>,
}

/// From a client to a gate.
#[derive(Debug)]
pub(super) enum Up {
    Call { call: CallId, identity: Identity, request: Box<Request> },
    Writable { call: CallId, credit: u32 },
    Hangup { call: CallId },
}

/// From a gate to a client.
#[derive(Debug)]
pub(super) enum Down {
    Answer { call: CallId, answer: Box<Answer> },
    Push { call: CallId, event: Option<Box<ClientEvent>> },
}

impl Client {
    /// The client of the plan, with its tasks, and when each begins.
    pub fn new(
        plan: &crate::plan::ClientPlan,
        gates: &[HostIx],
        names: &[String],
    ) -> (Self, Vec<(When, Act)>) {
        let named = |wanted: &[String]| -> Vec<HostIx> {
            match wanted {
                [] => gates.to_vec(),
                some => some.iter().filter_map(|name| names.iter().position(|known| known == name)).collect(),
            }
        };
        let mut client = Self {
            jobs: plan.jobs.clone(),
            tasks: Vec::new(),
            calls: BTreeMap::new(),
            calls_made: 0,
            loss_permille: plan.loss_permille,
            all_gates: gates.to_vec(),
        };
        let mut begins = Vec::new();
        for job in &plan.jobs {
            let task = client.add(job.name.clone(), Purpose::Run, named(&plan.gates));
            begins.push((job.when.clone(), Act::Begin { task }));
            if let Some(cancel) = &job.cancel {
                begins.push((cancel.when.clone(), Act::Cancel { task }));
            }
            for follower in &job.followers {
                let after = follower.after_kept.map(|kept| EventPos { kept, ..EventPos::default() });
                let task = client.add(job.name.clone(), Purpose::Follow { after }, named(&follower.gates));
                client.tasks[task].on_seen = matches!(follower.when, When::Seen(_));
                begins.push((follower.when.clone(), Act::Begin { task }));
            }
            for ask in &job.asks {
                for _ in 0..ask.times {
                    let purpose = Purpose::Ask { question: ask.ask, unknown_job: ask.unknown_job };
                    let task = client.add(job.name.clone(), purpose, named(std::slice::from_ref(&ask.gate)));
                    client.tasks[task].on_seen = matches!(ask.when, When::Seen(_));
                    begins.push((ask.when.clone(), Act::Begin { task }));
                }
            }
        }
        (client, begins)
    }

    fn add(&mut self, label: String, purpose: Purpose, gates: Vec<HostIx>) -> usize {
        let (machine, wake) = (None, Time::MAX);
        self.tasks.push(Task {
            label,
            purpose,
            gates,
            machine,
            wants_cancel: false,
            waits: false,
            on_seen: false,
            wake,
            over: false,
        });
        self.tasks.len() - 1
    }

    /// Jobs and followers that are not done yet, for a person. What one gate alone can answer is not waited for where
    /// that gate is broken for ever.
    pub fn open(&self, scene: &Scene) -> Vec<String> {
        let hopeless =
            |task: &Task| task.purpose.is_one_call() && !task.gates.iter().any(|&gate| scene.is_healed(gate));
        // A follower or a question that waits for an observation may never get its moment.
        let never = |task: &Task| task.on_seen && !task.waits && !matches!(task.purpose, Purpose::Run);
        // Nobody ever accepts what no datacenter that is left has the cores for.
        let nowhere = |task: &Task| scene.job(&task.label).is_none() && !scene.is_placeable(&task.label);
        let is_open = |task: &&Task| !task.over && !hopeless(task) && !never(task) && !nowhere(task);
        let open = self.tasks.iter().filter(is_open);
        open.map(|task| match (&task.purpose, task.machine.as_ref().and_then(Machine::job)) {
            (Purpose::Run, None) => format!("{} is not accepted", task.label),
            (Purpose::Run, Some(job)) => format!("{} ({job}) has no final result", task.label),
            (Purpose::Follow { .. }, _) => format!("a follower of {} has not seen its end", task.label),
            (Purpose::Read(_), _) => format!("the result of {} is being read", task.label),
            (Purpose::Ask { question, .. }, _) => format!("{question:?} of {} is not answered", task.label),
        })
        .collect()
    }
}

impl<M: Node> World<M> {
    fn client(&mut self, host: HostIx) -> Option<&mut Client> {
        match &mut self.hosts[host].actor {
            Actor::Client(client) => Some(client),
            _ => None,
        }
    }

    /// A task begins, or is cancelled by its user.
    pub(super) fn client_act(&mut self, host: HostIx, act: &Act) {
        match *act {
            Act::Begin { task } => {
                if let Some(client) = self.client(host) {
                    client.tasks[task].waits = true;
                }
                self.client_begin(host, task);
            }
            Act::Cancel { task } => {
                let Some(client) = self.client(host) else { return };
                client.tasks[task].wants_cancel = true;
                if client.tasks[task].machine.is_some() {
                    self.client_step(host, task, Input::Cancel { reason: "planned".into() });
                }
            }
            Act::Fault { .. } => {}
        }
    }

    /// Begins a task that waits, if what it needs is known.
    fn client_begin(&mut self, host: HostIx, task: usize) {
        let number = u64::from(task as u32);
        let seed = self.fate.of(self.hosts[host].key).seed(number);
        let Some(client) = self.client(host) else { return };
        let this = &client.tasks[task];
        if !this.waits || this.machine.is_some() {
            return;
        }
        let Some(plan) = client.jobs.iter().find(|job| job.name == this.label).cloned() else { return };
        let gates: Vec<HostIx> = this.gates.clone();
        if let Purpose::Ask { question, unknown_job } = this.purpose {
            return self.client_asks(host, task, &plan, question, unknown_job);
        }
        let goal = match (this.purpose.clone(), self.scene.job(&plan.name)) {
            (Purpose::Run, _) => match plan.spec() {
                Ok(spec) => Goal::Run { key: plan.key(), spec: Box::new(spec) },
                Err(_) => return,
            },
            (Purpose::Follow { after }, Some(job)) => Goal::Follow { job, after },
            _ => return,
        };
        let ids = gates.iter().map(|&gate| Some(self.scene.hosts[gate].node)).collect();
        let mut config = ClientConfig::new(ids, goal, seed);
        config.patience = PATIENCE;
        let Some(client) = self.client(host) else { return };
        client.tasks[task].machine = Some(Machine::new(config));
        let wants_cancel = client.tasks[task].wants_cancel;
        self.client_step(host, task, Input::Start);
        if wants_cancel {
            self.client_step(host, task, Input::Cancel { reason: "planned".into() });
        }
    }

    /// One call, if what it needs is known.
    fn client_asks(
        &mut self,
        host: HostIx,
        task: usize,
        plan: &JobPlan,
        question: Question,
        unknown_job: bool,
    ) {
        let known = if unknown_job { Some(NOBODYS) } else { self.scene.job(&plan.name) };
        let request = match (question, known) {
            (Question::Submit, _) => match plan.spec() {
                Ok(spec) => Request::Submit { key: Some(plan.key()), spec: Box::new(spec) },
                Err(_) => return,
            },
            (Question::Datacenters, _) => Request::Datacenters,
            (Question::Members, _) => Request::Members,
            (Question::Status, Some(job)) => Request::Status { job },
            (Question::Result, Some(job)) => Request::Result { job },
            (Question::Cancel, Some(job)) => Request::Cancel { job, reason: "asked".into() },
            (Question::Status | Question::Result | Question::Cancel, None) => return,
        };
        let Some(client) = self.client(host) else { return };
        client.tasks[task].waits = false;
        let gate = client.tasks[task].gates[0];
        self.client_call(host, task, CallId(0), gate, request);
    }

    /// One step of a task's machine.
    fn client_step(&mut self, host: HostIx, task: usize, input: Input) {
        let now = Now { mono: Instant::from_nanos(self.now), ..Now::default() };
        let mut out = Vec::new();
        let Some(client) = self.client(host) else { return };
        let Some(machine) = &mut client.tasks[task].machine else { return };
        machine.step(now, input, &mut out);
        let wake = machine.wake_at().map_or(Time::MAX, Instant::as_nanos);
        if wake < client.tasks[task].wake {
            client.tasks[task].wake = wake;
            self.queue
                .push(wake.max(self.now), Item::Client { host: host as u32, task: task as u32, at: wake });
        }
        for output in out {
            self.client_output(host, task, output);
        }
    }

    /// A task's timer.
    pub(super) fn client_wake(&mut self, host: HostIx, task: usize, at: Time) {
        let Some(client) = self.client(host) else { return };
        if client.tasks[task].wake != at {
            return;
        }
        client.tasks[task].wake = Time::MAX;
        if let Purpose::Read(job) = client.tasks[task].purpose {
            let gate = client.tasks[task].gates[0];
            return self.client_call(host, task, CallId(0), gate, Request::Result { job });
        }
        self.client_step(host, task, Input::Wake);
    }

    fn client_output(&mut self, host: HostIx, task: usize, output: Output) {
        match output {
            Output::Call { gate, call, request } => {
                let gate = self.client(host).map_or(0, |client| client.tasks[task].gates[gate]);
                self.client_call(host, task, call, gate, *request);
            }
            Output::Hangup { call } => {
                let Some(client) = self.client(host) else { return };
                let found = client.calls.iter().find(|(_, open)| open.task == task && open.inner == call);
                if let Some((&call, open)) = found {
                    let gate = open.gate;
                    client.calls.remove(&call);
                    self.send_up(host, gate, Up::Hangup { call });
                }
            }
            Output::Tell(_) | Output::Notice(Notice::Retry { .. } | Notice::CancelRecorded) => {}
            Output::Notice(Notice::Submitted { job, .. }) => self.job_named(host, task, job),
            Output::Done(done) => self.client_done(host, task, done),
        }
    }

    /// A gate names the job of a call: it bears its name of the plan from now on, before its client hears of it.
    pub(super) fn name_job_of(&mut self, host: HostIx, call: CallId, job: JobId) {
        let Some(client) = self.client(host) else { return };
        let Some(open) = client.calls.get(&call) else { return };
        let label = client.tasks[open.task].label.clone();
        self.scene.name_job(&label, job);
    }

    /// A job has an id: those who wait for it begin.
    fn job_named(&mut self, host: HostIx, task: usize, job: JobId) {
        let Some(client) = self.client(host) else { return };
        let label = client.tasks[task].label.clone();
        self.scene.name_job(&label, job);
        let tasks = self.client(host).map_or(0, |client| client.tasks.len());
        for task in 0..tasks {
            self.client_begin(host, task);
        }
    }

    fn client_done(&mut self, host: HostIx, task: usize, done: Done) {
        let Some(client) = self.client(host) else { return };
        client.tasks[task].over = true;
        let label = client.tasks[task].label.clone();
        match done {
            Done::Final(result) => {
                if matches!(client.tasks[task].purpose, Purpose::Run) {
                    for gate in client.all_gates.clone() {
                        self.client_read_later(host, &label, result.job, gate);
                    }
                }
            }
            // Followers of a plan begin at the beginning.
            Done::Known => self.violate("liveness", format!("the client of {label} was told that it knows")),
            Done::Refused(_) => {
                // Nobody will ever know the id that followers of it wait for.
                let waits = |task: &Task| task.label == label && task.purpose.needs_id();
                for other in client.tasks.iter_mut().filter(|task| waits(task)) {
                    other.over |= other.machine.is_none();
                }
            }
            Done::Unreachable { why, .. } => {
                self.violate("liveness", format!("the client of {label} gave up: {why}"));
            }
        }
    }

    fn client_read_later(&mut self, host: HostIx, label: &str, job: JobId, gate: HostIx) {
        let at = self.now + READ_AFTER;
        let Some(client) = self.client(host) else { return };
        let task = client.add(label.to_string(), Purpose::Read(job), vec![gate]);
        client.tasks[task].wake = at;
        self.queue.push(at, Item::Client { host: host as u32, task: task as u32, at });
    }

    /// Sends a request to a gate; one that has no connection there fails after a moment.
    fn client_call(&mut self, host: HostIx, task: usize, inner: CallId, gate: HostIx, request: Request) {
        let fate = self.fate.between(self.hosts[host].key, self.hosts[gate].key);
        let boxed = Box::new(request.clone());
        let Some(client) = self.client(host) else { return };
        client.calls_made += 1;
        let number = client.calls_made;
        let call = CallId((host as u64) << 32 | u64::from(number));
        client.calls.insert(call, Open { task, inner, gate, request });
        let label = &client.tasks[task].label;
        let tenant = client.jobs.iter().find(|job| job.name == *label).map(|job| job.tenant.clone());
        let identity = Identity { tenant: tenant.unwrap_or_default(), operator: false };
        let loss = client.loss_permille;
        let draw = fate.decide(About::Call, key(label), u64::from(number));
        if self.send_up(host, gate, Up::Call { call, identity, request: boxed }) {
            if draw.permille(loss) {
                let at = self.now + draw.next().below(80_000_000);
                self.queue.push(at, Item::ResetPair { a: host as u32, b: gate as u32 });
            }
        } else {
            let at = self.now + REFUSED_AFTER + draw.below(REFUSED_AFTER);
            self.queue.push(at, Item::CallLost { client: host as u32, call });
        }
    }

    /// An answer or event reached a client.
    pub(super) fn client_receive(&mut self, host: HostIx, down: Down) {
        match down {
            Down::Answer { call, answer } => {
                let Some(client) = self.client(host) else { return };
                let Some(open) = client.calls.get(&call) else { return };
                let (task, inner, gate, request) = (open.task, open.inner, open.gate, open.request.clone());
                if !matches!(*answer, Answer::Stream) {
                    client.calls.remove(&call);
                }
                if let Answer::Submitted(submitted) = &*answer {
                    let gates_with_it = self.gates_with(submitted.job);
                    self.tell(&Fact::Accepted { job: submitted.job, gates_with_it });
                }
                self.tell(&Fact::Answered { client: host, gate, request: &request, answer: &answer });
                if let Answer::Result(result) = &*answer {
                    self.tell(&Fact::ResultRead { client: host, gate, result });
                }
                self.client_answered(host, task, inner, answer);
            }
            Down::Push { call, event: Some(event) } => {
                let Some(client) = self.client(host) else { return };
                let Some(open) = client.calls.get(&call) else { return };
                let (task, inner, gate) = (open.task, open.inner, open.gate);
                self.tell(&Fact::Pushed { client: host, gate, stream: call.0, event: &event });
                if let ClientEventKind::Final(result) = &event.kind {
                    self.tell(&Fact::ResultRead { client: host, gate, result });
                }
                let late = self.hosts[host].reads_late;
                if late == 0 {
                    self.client_reads(host, gate, call);
                } else {
                    let read = Item::Read { client: host as u32, gate: gate as u32, call };
                    self.queue.push(self.now + late, read);
                }
                self.client_step(host, task, Input::Pushed { call: inner, event });
            }
            Down::Push { call, event: None } => self.call_lost(host, call, "the stream ended"),
        }
    }

    /// A client has read an event of a stream: there is room for another.
    pub(super) fn client_reads(&mut self, host: HostIx, gate: HostIx, call: CallId) {
        let reads = self.client(host).is_some_and(|client| client.calls.contains_key(&call));
        if reads {
            self.send_up(host, gate, Up::Writable { call, credit: 1 });
        }
    }

    /// How many gates have the job on their disks.
    fn gates_with(&self, job: JobId) -> usize {
        let gates = usize::from(self.scene.plan.cluster.gates);
        self.hosts[..gates].iter().filter(|host| host.disk.has(&job.0)).count()
    }

    fn client_answered(&mut self, host: HostIx, task: usize, inner: CallId, answer: Box<Answer>) {
        let Some(client) = self.client(host) else { return };
        if client.tasks[task].purpose.is_one_call() {
            client.tasks[task].over = true;
        } else {
            self.client_step(host, task, Input::Answered { call: inner, answer });
        }
    }

    /// No more will come of a call.
    pub(super) fn call_lost(&mut self, host: HostIx, call: CallId, why: &str) {
        let Some(client) = self.client(host) else { return };
        let Some(open) = client.calls.remove(&call) else { return };
        if client.tasks[open.task].purpose.is_one_call() {
            client.tasks[open.task].over = true;
        } else {
            self.client_step(host, open.task, Input::Lost { call: open.inner, why: why.into() });
        }
    }

    /// A client's connection to a gate broke.
    pub(super) fn client_disconnected(&mut self, host: HostIx, gate: HostIx) {
        let Some(client) = self.client(host) else { return };
        let lost: Vec<CallId> =
            client.calls.iter().filter(|(_, open)| open.gate == gate).map(|(&call, _)| call).collect();
        for call in lost {
            self.call_lost(host, call, "the connection broke");
        }
    }
}
