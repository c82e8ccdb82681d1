//! One run in a file: a plan, what must be seen in it, and the failure that it was kept for.
//!
//! The file is the plan's, and after it `[found]` and `[[expect]]`.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::expect::{Expect, Judge};
use super::same::{Comparison, Same};
use crate::fingerprint::Fingerprint;
use crate::plan::{BadPlan, Plan};
use crate::world::Spectator;

/// One run.
#[derive(Clone, Debug)]
pub struct Repro {
    /// What is run.
    pub plan: Plan,
    /// What must be seen, beside what the oracles ask for.
    pub expects: Arc<[Expect]>,
    /// Comparisons with other runs. No file of one run can hold them.
    pub same: Vec<(Arc<Same>, Arc<Plan>)>,
    /// The failure that it shows, or once showed.
    pub found: Option<Fingerprint>,
}

/// What stands after the plan.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Tail {
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<Fingerprint>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expect: Vec<Expect>,
}

impl From<Plan> for Repro {
    fn from(plan: Plan) -> Self {
        Self { plan, expects: Arc::new([]), same: Vec::new(), found: None }
    }
}

impl Repro {
    /// A run from a file.
    pub fn from_toml(text: &str) -> Result<Self, BadPlan> {
        let begin = text
            .split_inclusive('\n')
            .scan(0, |at, line| {
                let begin = *at;
                *at += line.len();
                Some((begin, line.trim()))
            })
            .find(|(_, line)| matches!(*line, "[found]" | "[[expect]]"))
            .map_or(text.len(), |(begin, _)| begin);
        let plan = Plan::from_toml(&text[..begin])?;
        // The lines above count, so that a mistake is said to be where it is.
        let blank = "\n".repeat(text[..begin].matches('\n').count());
        let tail: Tail =
            toml::from_str(&format!("{blank}{}", &text[begin..])).map_err(|why| BadPlan(why.to_string()))?;
        for (number, expect) in tail.expect.iter().enumerate() {
            expect.check(&plan).map_err(|why| BadPlan(format!("expectation {}: {why}", number + 1)))?;
        }
        Ok(Self { plan, expects: tail.expect.into(), same: Vec::new(), found: tail.found })
    }

    /// The run as a file, with comments at its top.
    pub fn to_toml(&self, comments: &[String]) -> String {
        let mut out = String::new();
        for comment in comments {
            let _ = writeln!(out, "# {comment}");
        }
        out.push_str(&self.plan.to_readable());
        let tail = Tail { found: self.found.clone(), expect: self.expects.to_vec() };
        out.push('\n');
        out.push_str(&toml::to_string(&tail).expect("a tail has only TOML shapes"));
        out
    }

    /// Who judges it beside the oracles.
    pub fn spectators(&self) -> Vec<Box<dyn Spectator>> {
        let judge = (!self.expects.is_empty())
            .then(|| Box::new(Judge::new(Arc::clone(&self.expects))) as Box<dyn Spectator>);
        let compare = |(same, other): &(Arc<Same>, Arc<Plan>)| {
            Box::new(Comparison::new(Arc::clone(same), Arc::clone(other))) as Box<dyn Spectator>
        };
        judge.into_iter().chain(self.same.iter().map(compare)).collect()
    }

    /// Whether its expectations name only what its plan has.
    pub fn is_sound(&self) -> bool {
        self.expects.iter().all(|expect| expect.check(&self.plan).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::draw;

    #[test]
    fn a_run_survives_its_file() {
        let expect: Tail =
            toml::from_str("[[expect]]\nsee = \"Result\"\nwith = { job = \"j1\" }\ntimes = 1\n").unwrap();
        let found = Fingerprint { oracle: "liveness".into(), key: "# ms after: job waits".into() };
        let run = Repro { expects: expect.expect.into(), found: Some(found), ..Repro::from(draw(3)) };
        let text = run.to_toml(&["A comment.".into()]);
        assert!(text.starts_with("# A comment.\nseed = 3\n"), "{text}");
        let back = Repro::from_toml(&text).unwrap();
        assert_eq!((back.plan, back.expects, back.found), (run.plan, run.expects, run.found));
    }

    #[test]
    fn a_mistake_after_the_plan_is_told_with_its_line() {
        let text = format!("{}\n[found]\noracel = \"x\"\n", draw(3).to_readable());
        let line = text.lines().count();
        let why = Repro::from_toml(&text).expect_err("there is no `oracel`").0;
        assert!(why.contains(&format!("line {line}")), "{why}");
        let text = format!(
            "{}\n[[expect]]\nsee = \"Result\"\nwith = {{ job = \"nobody\" }}\n",
            draw(3).to_readable()
        );
        assert!(Repro::from_toml(&text).expect_err("there is no such job").0.contains("nobody"));
    }
}
