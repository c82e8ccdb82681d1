//! From what a job file says to what the core runs: every rule beyond the shape of the tables.

use std::cell::Cell;
use std::collections::BTreeMap;

use tidegate_core::id::{DcId, WorkflowIx};
use tidegate_core::jobs::{ExecutorKind, JobSpec, Load, OnWorkerLoss, Placement, Threshold, WorkflowSpec};

use super::plan::{CommandPlan, HttpPlan, Plan};
use super::problem::Problem;
use super::requests;
use super::scalar::{Datacenters, HumanDuration};
use super::source::{Source, Step};
use super::template::{self, Names, Template};
use super::types::{Command, Http, JobFile, WorkerLoss, Workflow};
use super::{Job, Surroundings, Target, graph, threshold};

/// Most virtual users of a workflow.
const MAX_VUS: u32 = 1_000_000;
/// Most cores of a shard.
const MAX_CORES: u16 = 256;
/// Most arguments or variables of a command.
const MAX_ARGUMENTS: usize = 256;

/// Gathers problems while the parts are looked at, so that all are told at once.
pub(super) struct Compiler<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) around: &'a Surroundings<'a>,
    pub(super) problems: Vec<Problem>,
    /// Whether a template used `{{target}}`.
    pub(super) uses_target: Cell<bool>,
}

/// Compiles a file of the right shape.
pub(super) fn compile(
    source: &Source<'_>,
    file: &JobFile,
    around: &Surroundings<'_>,
) -> Result<Job, Vec<Problem>> {
    let mut compiler = Compiler { source, around, problems: Vec::new(), uses_target: Cell::new(false) };
    let spec = compiler.job(file);
    if compiler.problems.is_empty()
        && let Err(error) = spec.validate()
    {
        compiler.problem(&[], error.to_string(), "");
    }
    if compiler.problems.is_empty() {
        Ok(Job { tenant: file.tenant.clone(), spec })
    } else {
        Err(compiler.problems)
    }
}

impl Compiler<'_> {
    pub(super) fn problem(&mut self, path: &[Step<'_>], message: impl Into<String>, help: &str) {
        let help = (!help.is_empty()).then(|| help.to_string());
        self.problems.push(Problem { span: Some(self.source.span(path)), message: message.into(), help });
    }

    fn job(&mut self, file: &JobFile) -> JobSpec {
        use Step::Key;
        if file.version != 1 {
            let help = "write version = 1";
            self.problem(&[Key("version")], format!("version {} is not known", file.version), help);
        }
        self.name(&[Key("name")], &file.name, JobSpec::MAX_NAME);
        self.name(&[Key("tenant")], &file.tenant, 64);
        if file.retries > 50 {
            self.problem(&[Key("retries")], "more than 50 retries", "0 to 50");
        }
        if file.workflow_retries > 5 {
            self.problem(&[Key("workflow_retries")], "more than 5 retries a workflow", "0 to 5");
        }
        let placement = self.placement(&file.datacenters);
        let mut thresholds = self.thresholds(&[Key("thresholds")], &file.thresholds, None);
        let workflows = self.workflows(file, &mut thresholds);
        if thresholds.len() > JobSpec::MAX_THRESHOLDS {
            self.problem(
                &[Key("thresholds")],
                "more than 64 thresholds in the job",
                "keep those that decide",
            );
        }
        if let (Target::Given(_), false, true) =
            (self.around.target, self.uses_target.get(), self.problems.is_empty())
        {
            let message = "a target is given, but no request uses {{target}}";
            let help =
                "begin the URLs that shall follow it with {{target}}, as in url = \"{{target}}/hello\"";
            self.problems.push(Problem {
                span: None,
                message: message.to_string(),
                help: Some(help.to_string()),
            });
        }
        JobSpec {
            name: file.name.clone(),
            placement,
            timeout_ms: file.timeout.as_millis(),
            on_worker_loss: match file.on_worker_loss {
                WorkerLoss::Replace => OnWorkerLoss::Replace,
                WorkerLoss::Degrade => OnWorkerLoss::Degrade,
                WorkerLoss::Fail => OnWorkerLoss::Fail,
            },
            partial_results: file.partial_results,
            retries: file.retries,
            workflow_retries: file.workflow_retries,
            thresholds,
            workflows,
        }
    }

    fn name(&mut self, path: &[Step<'_>], name: &str, longest: usize) {
        if name.is_empty() || name.len() > longest || name.chars().any(char::is_control) {
            self.problem(path, format!("a name has 1 to {longest} bytes, without control characters"), "");
        } else if name.contains("{{") {
            self.problem(path, "a name is no template", "templates work in url, headers, body, argv and env");
        }
    }

    fn placement(&mut self, datacenters: &Datacenters) -> Placement {
        use Step::{Index, Key};
        match datacenters {
            Datacenters::Any => Placement::Any,
            Datacenters::Count(count) => {
                if !(1..=JobSpec::MAX_TARGETS as u16).contains(count) {
                    let path = [Key("datacenters"), Key("count")];
                    self.problem(&path, format!("{count} datacenters"), "count is 1 to 64");
                }
                Placement::Count(*count)
            }
            Datacenters::Only(names) => {
                if names.is_empty() || names.len() > JobSpec::MAX_TARGETS {
                    let help = "name 1 to 64 datacenters, or write \"any\" or { count = 2 }";
                    self.problem(
                        &[Key("datacenters")],
                        format!("a list of {} datacenters", names.len()),
                        help,
                    );
                }
                let mut known = Vec::new();
                for (at, name) in names.iter().enumerate() {
                    let path = [Key("datacenters"), Index(at)];
                    match DcId::new(name) {
                        Err(_) => {
                            let help = "1 to 24 of a-z, 0-9 and -";
                            self.problem(&path, format!("{name:?} cannot be a datacenter's name"), help);
                        }
                        Ok(dc) if known.contains(&dc) => {
                            self.problem(
                                &path,
                                format!("datacenter {name:?} is listed twice"),
                                "list each once",
                            );
                        }
                        Ok(dc) => known.push(dc),
                    }
                }
                Placement::Only(known)
            }
        }
    }

    fn thresholds(
        &mut self,
        path: &[Step<'_>],
        texts: &[String],
        workflow: Option<(WorkflowIx, &str)>,
    ) -> Vec<Threshold> {
        let mut parsed = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            match threshold::parse(text, workflow) {
                Ok(threshold) => parsed.push(threshold),
                Err((message, help)) => {
                    self.problem(&[path, &[Step::Index(at)]].concat(), message, &help);
                }
            }
        }
        parsed
    }

    fn workflows(&mut self, file: &JobFile, thresholds: &mut Vec<Threshold>) -> Vec<WorkflowSpec> {
        use Step::{Index, Key};
        let count = file.workflow.len();
        if count == 0 || count > JobSpec::MAX_WORKFLOWS {
            let help = "a job has 1 to 256 tables [[workflow]]";
            self.problem(&[Key("workflow")], format!("a job with {count} workflows"), help);
            return Vec::new();
        }
        self.unique_names(&file.workflow);
        let needs = graph::resolve(&file.workflow).unwrap_or_else(|errors| {
            for error in errors {
                let path = [Key("workflow"), Index(error.workflow), Key("needs"), Index(error.need)];
                self.problem(&path, error.message, &error.help);
            }
            vec![Vec::new(); count]
        });
        let mut specs = Vec::new();
        for (at, (workflow, needs)) in file.workflow.iter().zip(&needs).enumerate() {
            let path = [Key("workflow"), Index(at)];
            if workflow.needs.len() > JobSpec::MAX_NEEDS {
                self.problem(&[&path[..], &[Key("needs")]].concat(), "more than 64 needs", "");
            }
            let place = WorkflowIx(at as u16);
            thresholds.extend(self.thresholds(
                &[&path[..], &[Key("thresholds")]].concat(),
                &workflow.thresholds,
                Some((place, &workflow.name)),
            ));
            if let Some((executor, load, cores, plan)) = self.executor(&path, workflow) {
                let (name, needs, payload) = (workflow.name.clone(), needs.clone(), plan.encode().into());
                specs.push(WorkflowSpec { name, needs, executor, load, cores, payload });
            }
        }
        self.sizes(file, &needs, &specs);
        specs
    }

    fn unique_names(&mut self, workflows: &[Workflow]) {
        use Step::{Index, Key};
        let mut seen = BTreeMap::new();
        for (at, workflow) in workflows.iter().enumerate() {
            let path = [Key("workflow"), Index(at), Key("name")];
            self.name(&path, &workflow.name, JobSpec::MAX_NAME);
            if let Some(first) = seen.insert(workflow.name.as_str(), at) {
                let message = format!("two workflows are named {:?}", workflow.name);
                self.problem(&path, message, &format!("workflow {} has that name already", first + 1));
            }
        }
    }

    /// What concerns all workflows together: the time they need and the bytes they are.
    fn sizes(&mut self, file: &JobFile, needs: &[Vec<WorkflowIx>], specs: &[WorkflowSpec]) {
        if specs.len() < file.workflow.len() {
            return;
        }
        let durations: Vec<u32> = specs.iter().map(|spec| spec.load.duration_ms).collect();
        let longest = graph::longest_way_ms(needs, &durations);
        if longest > u64::from(file.timeout.as_millis()) {
            let needed = HumanDuration::from_millis(longest.min(u64::from(u32::MAX)) as u32);
            let message = format!("the workflows take {needed}, and the job's timeout is {}", file.timeout);
            self.problem(&[Step::Key("timeout")], message, "raise timeout above what the workflows take");
        }
        let bytes: usize = specs.iter().map(|spec| spec.payload.len()).sum();
        if bytes > JobSpec::MAX_PAYLOAD {
            let message = format!("requests and commands take {bytes} bytes together");
            let help = format!("at most {} bytes: send shorter bodies", JobSpec::MAX_PAYLOAD);
            self.problem(&[Step::Key("workflow")], message, &help);
        }
    }

    fn executor(
        &mut self,
        path: &[Step<'_>],
        workflow: &Workflow,
    ) -> Option<(ExecutorKind, Load, u16, Plan)> {
        use Step::Key;
        let at = |key| [path, &[Key(key)]].concat();
        match (&workflow.http, &workflow.command, &workflow.sleep) {
            (Some(http), None, None) => self.http(&at("http"), http),
            (None, Some(command), None) => self.command(&at("command"), command),
            (None, None, Some(sleep)) => {
                self.range(
                    &[&at("sleep")[..], &[Key("instances")]].concat(),
                    sleep.instances.into(),
                    1,
                    1_024,
                );
                let load = Load {
                    duration_ms: sleep.duration.as_millis(),
                    instances: sleep.instances,
                    ..Load::default()
                };
                Some((ExecutorKind::Sleep, load, 1, Plan::Sleep))
            }
            (None, None, None) => {
                let message = format!("workflow {:?} has no executor", workflow.name);
                self.problem(
                    path,
                    message,
                    "give it one of [workflow.http], [workflow.command], [workflow.sleep]",
                );
                None
            }
            _ => {
                let message = format!("workflow {:?} has more than one executor", workflow.name);
                self.problem(path, message, "make a workflow of each, and order them by `needs`");
                None
            }
        }
    }

    pub(super) fn range(&mut self, path: &[Step<'_>], value: u64, least: u64, most: u64) {
        if !(least..=most).contains(&value) {
            self.problem(path, format!("{value} is out of range"), &format!("{least} to {most}"));
        }
    }

    fn http(&mut self, path: &[Step<'_>], http: &Http) -> Option<(ExecutorKind, Load, u16, Plan)> {
        use Step::Key;
        let at = |key| [path, &[Key(key)]].concat();
        self.range(&at("vus"), http.vus.into(), 1, MAX_VUS.into());
        self.range(&at("cores"), http.cores.into(), 1, MAX_CORES.into());
        let requests = requests::compile(self, &at("requests"), http);
        let load = Load {
            vus: http.vus,
            rate_milli: http.rate.map_or(0, |rate| rate.0),
            duration_ms: http.duration.as_millis(),
            instances: 0,
        };
        let plan = HttpPlan {
            requests,
            keep_alive: http.keep_alive,
            start_within_ms: http.start_within.as_millis(),
        };
        Some((ExecutorKind::Http, load, http.cores, Plan::Http(plan)))
    }

    fn command(&mut self, path: &[Step<'_>], command: &Command) -> Option<(ExecutorKind, Load, u16, Plan)> {
        use Step::{Index, Key};
        let at = |key| [path, &[Key(key)]].concat();
        self.range(&at("cores"), command.cores.into(), 1, MAX_CORES.into());
        self.range(&at("instances"), command.instances.into(), 1, 1_024);
        if command.argv.is_empty() || command.argv.len() > MAX_ARGUMENTS || command.argv[0].is_empty() {
            self.problem(
                &at("argv"),
                "argv names no program, or too much",
                "1 to 256: the program and its arguments",
            );
        }
        let mut argv = Vec::new();
        for (index, text) in command.argv.iter().enumerate() {
            argv.extend(self.template(&[&at("argv")[..], &[Index(index)]].concat(), text, false));
        }
        if command.env.len() > MAX_ARGUMENTS {
            self.problem(&at("env"), "more than 256 variables", "");
        }
        let mut env = Vec::new();
        for (name, text) in &command.env {
            let path = [&at("env")[..], &[Key(name)]].concat();
            if name.is_empty() || name.contains(['=', '\0']) || name.starts_with("TIDEGATE_") {
                let help = "not empty, without `=`, and not one of TIDEGATE_*, which every command gets";
                self.problem(&path, format!("{name:?} cannot be a variable"), help);
            }
            env.extend(self.template(&path, text, false).map(|template| (name.clone(), template)));
        }
        let load = Load {
            duration_ms: command.timeout.as_millis(),
            instances: command.instances,
            ..Load::default()
        };
        let plan = CommandPlan { argv, env, cores: command.cores };
        Some((ExecutorKind::Command, load, command.cores, Plan::Command(plan)))
    }

    /// Reads a template and tells what is wrong with it, at its place in the file.
    pub(super) fn template(&mut self, path: &[Step<'_>], text: &str, users: bool) -> Option<Template> {
        if text.contains('\0') {
            self.problem(path, "a zero byte in a text", "");
            return None;
        }
        let names =
            Names { env: self.around.env, target: self.around.target, users, uses_target: &self.uses_target };
        match template::parse(text, &names) {
            Ok(template) => Some(template),
            Err(errors) => {
                for error in errors {
                    let span = self.source.span_in(path, text, error.span);
                    self.problems.push(Problem {
                        span: Some(span),
                        message: error.message,
                        help: error.help,
                    });
                }
                None
            }
        }
    }
}
