//! The graph of workflows: names, needs, cycles, and how long its longest way takes.

use std::collections::BTreeMap;

use tidegate_core::id::WorkflowIx;

use super::problem::closest;
use super::types::Workflow;

/// Something wrong with one entry of one workflow's `needs`.
pub struct NeedError {
    /// Which workflow.
    pub workflow: usize,
    /// Which of its needs.
    pub need: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: String,
}

/// The needs of each workflow as places.
pub fn resolve(workflows: &[Workflow]) -> Result<Vec<Vec<WorkflowIx>>, Vec<NeedError>> {
    let mut places = BTreeMap::new();
    for (place, workflow) in workflows.iter().enumerate() {
        places.entry(workflow.name.as_str()).or_insert(place);
    }
    let (mut needs, mut errors) = (vec![Vec::new(); workflows.len()], Vec::new());
    for (at, workflow) in workflows.iter().enumerate() {
        for (need, name) in workflow.needs.iter().enumerate() {
            let wrong = match places.get(name.as_str()) {
                None => Some((format!("no workflow is named {name:?}"), suggest(name, &places))),
                Some(place) if *place == at => Some((
                    format!("workflow {name:?} needs itself"),
                    "name what must complete before it".to_string(),
                )),
                Some(place) if needs[at].contains(place) => {
                    Some((format!("{name:?} is listed twice"), "list each once".to_string()))
                }
                Some(place) => {
                    needs[at].push(*place);
                    None
                }
            };
            if let Some((message, help)) = wrong {
                errors.push(NeedError { workflow: at, need, message, help });
            }
        }
    }
    if let (true, Some(cycle)) = (errors.is_empty(), find_cycle(&needs)) {
        errors.push(describe_cycle(workflows, &cycle));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    // At most 256 workflows were let in.
    Ok(needs
        .into_iter()
        .map(|list| list.into_iter().map(|place| WorkflowIx(place as u16)).collect())
        .collect())
}

fn suggest(name: &str, places: &BTreeMap<&str, usize>) -> String {
    match closest(name, places.keys().copied()) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None => format!(
            "there are {}",
            places.keys().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
        ),
    }
}

/// Places on one cycle, in order of need. Takes away what needs nothing that is left, until only cycles remain.
fn find_cycle(needs: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut left: Vec<bool> = vec![true; needs.len()];
    while let Some(free) = (0..needs.len()).find(|&at| left[at] && needs[at].iter().all(|&need| !left[need]))
    {
        left[free] = false;
    }
    let mut at = left.iter().position(|left| *left)?;
    let mut way: Vec<usize> = Vec::new();
    loop {
        if let Some(start) = way.iter().position(|&seen| seen == at) {
            return Some(way.split_off(start));
        }
        way.push(at);
        at = *needs[at].iter().find(|&&need| left[need])?;
    }
}

fn describe_cycle(workflows: &[Workflow], cycle: &[usize]) -> NeedError {
    let first = cycle[0];
    let second = cycle.get(1).copied().unwrap_or(first);
    let names: Vec<&str> = cycle.iter().chain([&first]).map(|&at| workflows[at].name.as_str()).collect();
    let need = workflows[first].needs.iter().position(|name| *name == workflows[second].name).unwrap_or(0);
    NeedError {
        workflow: first,
        need,
        message: format!("workflows need each other in a circle: {}", names.join(" -> ")),
        help: "none of them could ever start; take one of these needs away".to_string(),
    }
}

/// The longest sum of durations along needs. The graph has no cycle.
pub fn longest_way_ms(needs: &[Vec<WorkflowIx>], durations_ms: &[u32]) -> u64 {
    let mut ends: Vec<Option<u64>> = vec![None; needs.len()];
    let mut order: Vec<usize> = (0..needs.len()).rev().collect();
    while let Some(at) = order.pop() {
        if ends[at].is_some() {
            continue;
        }
        let missing: Vec<usize> =
            needs[at].iter().map(|need| usize::from(need.0)).filter(|&need| ends[need].is_none()).collect();
        if missing.is_empty() {
            let before = needs[at].iter().filter_map(|need| ends[usize::from(need.0)]).max().unwrap_or(0);
            ends[at] = Some(before + u64::from(durations_ms[at]));
        } else {
            order.push(at);
            order.extend(missing);
        }
    }
    ends.into_iter().flatten().max().unwrap_or(0)
}
