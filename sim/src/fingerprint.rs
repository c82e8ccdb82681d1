//! What makes two failures the same: the oracle, and what it said without the numbers and names of this run.
//!
//! A shrunk run fails at another time, with fewer jobs on fewer nodes, and its ids are others. What stays is who
//! complained and about what. So the key is the first statement of the message with every number as `#`, every name of
//! the plan as what it names (`gate`, `worker`, `job`), and nested values left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::world::Violation;

/// Longest key: what comes after is not needed to tell failures apart.
const KEY_MAX: usize = 200;

/// Names a failure across runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// Which oracle.
    pub oracle: String,
    /// What it said.
    pub key: String,
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.oracle, self.key)
    }
}

impl Fingerprint {
    /// The fingerprint of what an oracle found in a run of this plan.
    pub fn of(plan: &Plan, violation: &Violation) -> Self {
        let names = names_of(plan);
        let first = violation.message.lines().next().unwrap_or_default();
        // Whoever lists several things is known by the first.
        let first = first.split("; ").next().unwrap_or_default();
        let (text, place) = match first.rsplit_once(" (at ") {
            Some((text, place)) => (text, place.split(':').next().unwrap_or_default()),
            None => (first, ""),
        };
        let mut words = words(text, &names);
        if !place.is_empty() {
            words.push(format!("in {place}"));
        }
        let mut key = words.join(" ");
        let end = (0..=KEY_MAX.min(key.len())).rev().find(|&at| key.is_char_boundary(at)).unwrap_or(0);
        key.truncate(end);
        Self { oracle: violation.oracle.clone(), key }
    }
}

/// Every name of a plan, and what it names.
fn names_of(plan: &Plan) -> BTreeMap<String, &'static str> {
    let mut names = BTreeMap::new();
    for node in plan.cluster.node_names() {
        let role = match node.rsplit_once('/') {
            None => "gate",
            Some((_, place)) if place.starts_with('m') => "manager",
            Some(_) => "worker",
        };
        names.insert(node, role);
    }
    names.extend(plan.cluster.datacenters.iter().map(|dc| (dc.name.clone(), "datacenter")));
    for client in &plan.clients {
        names.insert(client.name.clone(), "client");
        names.insert(format!("client:{}", client.name), "client");
        names.extend(client.jobs.iter().map(|job| (job.name.clone(), "job")));
    }
    names
}

/// The words outside of brackets and quotes.
fn words(text: &str, names: &BTreeMap<String, &'static str>) -> Vec<String> {
    let (mut depth, mut quoted) = (0usize, false);
    let mut outside = String::new();
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            _ if depth == 0 => outside.push(c),
            _ => {}
        }
    }
    outside.split_whitespace().map(|word| kind_of(word, names)).collect()
}

fn kind_of(word: &str, names: &BTreeMap<String, &'static str>) -> String {
    let bare = word.trim_end_matches([',', '.', ':', ';']);
    let end = &word[bare.len()..];
    if let Some(kind) = names.get(bare) {
        return format!("{kind}{end}");
    }
    // Ids have 32 hexadecimal digits, digests of states 16.
    match bare.len() {
        32 if bare.bytes().all(|byte| byte.is_ascii_hexdigit()) => return format!("id{end}"),
        16 if bare.bytes().all(|byte| byte.is_ascii_hexdigit()) => return format!("#{end}"),
        _ => {}
    }
    let mut out = String::new();
    for c in bare.chars() {
        match c {
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            c => out.push(c),
        }
    }
    out + end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::draw;

    fn of(message: &str) -> String {
        let violation = Violation { oracle: "x".into(), at_ms: 1, message: message.into() };
        Fingerprint::of(&draw(0), &violation).key
    }

    #[test]
    fn numbers_names_and_nested_values_are_not_in_it() {
        assert_eq!(
            of("j1 dc-a workflow 0: 120 requests are counted, 60 were made"),
            "job datacenter workflow #: # requests are counted, # were made"
        );
        assert_eq!(
            of("RunId { shard: ShardKey { job: 1 } } was started by dc-a/w1 at 12 ms and again by dc-a/w1"),
            "RunId was started by worker at # ms and again by worker"
        );
        assert_eq!(
            of("g1 panicked: the index is 4 (at core/src/ledger/mod.rs:17:5)"),
            "gate panicked: the index is # in core/src/ledger/mod.rs"
        );
        assert_eq!(
            of("at index 6 g1 has state 00ddab1b2da3f4c5, dc-a/m1 ab12df345d6f7dc8"),
            "at index # gate has state #, manager #"
        );
        assert_eq!(of("j1 has two results:\n  {..}"), of("j2 has two results:\n  {....}"));
        assert_eq!(of("9 ms after: j1 waits; j2 waits"), of("10 ms after: j2 waits"));
    }

    #[test]
    fn what_was_found_is_in_it() {
        assert_ne!(
            of("j1 is completed although it was cancelled"),
            of("j1 is partial although it was cancelled")
        );
        assert_ne!(of("g1 went back"), of("dc-a/w1 went back"));
    }
}
