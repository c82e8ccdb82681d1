//! Scenario files: cases in TOML.
//!
//! A case is a plan in parts (cluster, network, clients, faults, drivers, run) and what must be seen when it runs. Parts that a
//! case leaves out are taken whole from the file's `[base]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use toml::Spanned;

use super::expect::{Expect, Judge};
use super::same::Same;
use super::{BadFile, Case, Repro};
use crate::plan::{ClientPlan, ClusterPlan, FaultPlan, NetworkPlan, Plan, Point, RunPlan};
use crate::world::Spectator;

/// A scenario file of `tidegate-sim`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Tidegate scenario file")]
struct File {
    /// Parts for the cases that have none of their own.
    #[serde(default)]
    base: Parts,
    /// The cases.
    case: Vec<RawCase>,
}

/// Parts of a plan.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Parts {
    /// The nodes.
    cluster: Option<ClusterPlan>,
    /// The links between them.
    network: Option<NetworkPlan>,
    /// Who submits what.
    client: Option<Vec<ClientPlan>>,
    /// What goes wrong.
    fault: Option<Vec<FaultPlan>>,
    /// The points of the drivers, and how often each acts, in permille.
    driver: Option<BTreeMap<Point, u16>>,
    /// How long it runs.
    run: Option<RunPlan>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawCase {
    /// Its name; begins with the first catalogue id that it covers.
    #[schemars(with = "String")]
    id: Spanned<String>,
    /// The catalogue ids that it shows.
    #[schemars(length(min = 1))]
    covers: Vec<String>,
    /// What it shows, in a sentence.
    why: String,
    /// The nodes; those of `[base]` where absent.
    cluster: Option<ClusterPlan>,
    /// The links; those of `[base]` where absent.
    network: Option<NetworkPlan>,
    /// Who submits what; as in `[base]` where absent.
    client: Option<Vec<ClientPlan>>,
    /// What goes wrong; as in `[base]` where absent.
    fault: Option<Vec<FaultPlan>>,
    /// The points of the drivers, and how often each acts, in permille; as in `[base]` where absent.
    driver: Option<BTreeMap<Point, u16>>,
    /// How long it runs; as in `[base]` where absent.
    run: Option<RunPlan>,
    /// What must be seen.
    #[schemars(length(min = 1))]
    expect: Vec<Expect>,
    /// Comparisons with earlier cases of the file.
    #[serde(default)]
    same: Vec<Same>,
}

/// One case of a scenario file.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name; begins with the catalogue id that it shows first.
    pub id: String,
    /// The catalogue ids that it shows.
    pub covers: Vec<String>,
    /// What it shows, in a sentence.
    pub why: String,
    /// Where it was read, and in which line it begins.
    pub file: PathBuf,
    /// See `file`.
    pub line: usize,
    plan: Plan,
    expects: Arc<[Expect]>,
    /// Comparisons, with the plan of the other case.
    same: Vec<(Arc<Same>, Arc<Plan>)>,
}

impl Case for Scenario {
    fn id(&self) -> &str {
        &self.id
    }
    fn covers(&self) -> &[String] {
        &self.covers
    }
    fn file(&self) -> &Path {
        &self.file
    }
    fn plan(&self, seed: u64) -> Plan {
        Plan { seed, ..self.plan.clone() }
    }
    fn spectators(&self) -> Vec<Box<dyn Spectator>> {
        self.repro(0).spectators()
    }
    fn repro(&self, seed: u64) -> Repro {
        Repro {
            plan: self.plan(seed),
            expects: Arc::clone(&self.expects),
            same: self.same.clone(),
            found: None,
        }
    }
}

impl Scenario {
    /// Whether it injects faults.
    pub fn has_faults(&self) -> bool {
        self.plan.has_faults()
    }

    /// The same case without its workload: it must fail.
    pub fn without_workload(&self, seed: u64) -> Plan {
        let mut plan = self.plan(seed);
        for client in &mut plan.clients {
            client.jobs.clear();
        }
        // Faults that wait for a job, or name one, have nothing to wait for.
        plan.faults.clear();
        plan
    }

    /// The same case without its faults: what it calls its point must not be reached.
    pub fn without_faults(&self, seed: u64) -> Plan {
        Plan { faults: Vec::new(), driver: BTreeMap::new(), ..self.plan(seed) }
    }

    /// Judges only whether its point was reached.
    pub fn reached(&self) -> Box<dyn Spectator> {
        let points: Vec<_> = self.expects.iter().filter(|expect| expect.reached).cloned().collect();
        Box::new(Judge::new(points.into()))
    }
}

/// The JSON Schema of scenario files, for editors. It knows shapes; what a name must stand for, only [`parse`] knows.
pub fn schema() -> String {
    let mut schema = schemars::schema_for!(File).to_value();
    without_null(&mut schema);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// TOML has no null: what may be absent is absent.
fn without_null(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    object.insert("type".into(), one);
                }
            }
            if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
                choices.retain(|choice| choice != &json!({ "type": "null" }));
            }
            if object.get("default").is_some_and(Value::is_null) {
                object.remove("default");
            }
            object.values_mut().for_each(without_null);
        }
        Value::Array(values) => values.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// The cases of a file.
pub fn read(file: &Path) -> Result<Vec<Scenario>, BadFile> {
    let text = std::fs::read_to_string(file).map_err(|why| bad(file, why.to_string()))?;
    parse(file, &text)
}

fn bad(file: &Path, why: impl Into<String>) -> BadFile {
    BadFile { file: file.to_path_buf(), why: why.into() }
}

/// The cases of a text; `file` is for messages.
pub fn parse(file: &Path, text: &str) -> Result<Vec<Scenario>, BadFile> {
    let parsed: File = toml::from_str(text).map_err(|why| bad(file, why.to_string()))?;
    let mut cases: Vec<Scenario> = Vec::new();
    for raw in parsed.case {
        let same = raw.same.clone();
        let mut case = build(file, text, &parsed.base, raw)?;
        for same in same {
            let wrong = |why: String| at(file, case.line, &format!("case {:?}: same: {why}", case.id));
            let Some(other) = cases.iter().find(|known| known.id == same.other) else {
                return Err(wrong(format!("there is no case {:?} before it in this file", same.other)));
            };
            if same.fields.is_empty() {
                return Err(wrong("`fields` is empty; name what is compared".to_string()));
            }
            same.pattern().check(&case.plan).map_err(wrong)?;
            case.same.push((Arc::new(same), Arc::new(other.plan.clone())));
        }
        if cases.iter().any(|known| known.id == case.id) {
            return Err(at(file, case.line, &format!("two cases are named {:?}", case.id)));
        }
        cases.push(case);
    }
    Ok(cases)
}

fn at(file: &Path, line: usize, why: &str) -> BadFile {
    bad(file, format!("line {line}: {why}"))
}

fn build(file: &Path, text: &str, base: &Parts, raw: RawCase) -> Result<Scenario, BadFile> {
    let line = text[..raw.id.span().start].matches('\n').count() + 1;
    let id = raw.id.into_inner();
    let wrong = |why: String| at(file, line, &format!("case {id:?}: {why}"));
    let Some(cluster) = raw.cluster.or_else(|| base.cluster.clone()) else {
        return Err(wrong(
            "it has no cluster; add [case.cluster], or [base.cluster] for all cases".to_string(),
        ));
    };
    let plan = Plan {
        seed: 0,
        cluster,
        network: raw.network.or_else(|| base.network.clone()).unwrap_or_default(),
        clients: raw.client.or_else(|| base.client.clone()).unwrap_or_default(),
        driver: raw.driver.or_else(|| base.driver.clone()).unwrap_or_default(),
        faults: raw.fault.or_else(|| base.fault.clone()).unwrap_or_default(),
        run: raw.run.or_else(|| base.run.clone()).unwrap_or_default(),
    };
    plan.check().map_err(|why| wrong(why.0))?;
    match raw.covers.first() {
        None => return Err(wrong("`covers` is empty; name the catalogue ids that it shows".to_string())),
        Some(first) if !id.starts_with(first.as_str()) => {
            return Err(wrong(format!("its name must begin with the first id it covers, {first:?}")));
        }
        Some(_) => {}
    }
    if raw.expect.is_empty() {
        return Err(wrong("it expects nothing; add at least one [[case.expect]]".to_string()));
    }
    for (number, expect) in raw.expect.iter().enumerate() {
        expect.check(&plan).map_err(|why| wrong(format!("expectation {}: {why}", number + 1)))?;
    }
    let points = raw.expect.iter().filter(|expect| expect.reached).count();
    if plan.has_faults() && points == 0 {
        let why = "it has faults; mark with `reached = true` the expectation that fails without them";
        return Err(wrong(why.to_string()));
    }
    let (covers, why) = (raw.covers, raw.why);
    Ok(Scenario {
        id,
        covers,
        why,
        file: file.to_path_buf(),
        line,
        plan,
        expects: raw.expect.into(),
        same: Vec::new(),
    })
}
