//! A plan as a person would write it: only what differs from the defaults, and small tables on one line.

use toml::{Table, Value};

use super::Plan;

/// A table that fits in so many characters is written on one line.
const LINE_MAX: usize = 100;
/// Keys that come before others, in this order.
const FIRST: &[&str] = &["seed", "name", "id", "when", "target", "kind", "for_ms", "gates", "managers"];

/// The plan without every entry that reading it back would add by itself.
pub(super) fn text(plan: &Plan) -> String {
    let Ok(Value::Table(mut table)) = Value::try_from(plan) else { return plan.to_toml() };
    let same = |table: &Table| table.clone().try_into::<Plan>().is_ok_and(|back| back == *plan);
    if !same(&table) {
        return plan.to_toml();
    }
    let mut path = Vec::new();
    prune(&mut table, &mut path, &same);
    let mut out = String::new();
    section(&table, "", &mut out);
    out
}

/// A step into a document.
#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Place(usize),
}

fn prune(root: &mut Table, path: &mut Vec<Step>, same: &impl Fn(&Table) -> bool) {
    let steps: Vec<Step> = match find(root, path) {
        Some(Value::Table(table)) => table.keys().cloned().map(Step::Key).collect(),
        Some(Value::Array(values)) => (0..values.len()).map(Step::Place).collect(),
        None if path.is_empty() => root.keys().cloned().map(Step::Key).collect(),
        _ => return,
    };
    for step in steps {
        if let Step::Key(key) = &step {
            let taken = table_at(root, path).and_then(|table| table.remove(key));
            if same(root) {
                continue;
            }
            if let (Some(table), Some(value)) = (table_at(root, path), taken) {
                table.insert(key.clone(), value);
            }
        }
        path.push(step);
        prune(root, path, same);
        path.pop();
    }
}

fn find<'a>(root: &'a Table, path: &[Step]) -> Option<&'a Value> {
    let (Step::Key(first), rest) = path.split_first()? else { return None };
    rest.iter().try_fold(root.get(first)?, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Place(place) => value.get(place),
    })
}

fn table_at<'a>(root: &'a mut Table, path: &[Step]) -> Option<&'a mut Table> {
    let Some((Step::Key(first), rest)) = path.split_first() else { return Some(root) };
    let value = rest.iter().try_fold(root.get_mut(first)?, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Place(place) => value.get_mut(place),
    })?;
    value.as_table_mut()
}

fn ordered(table: &Table) -> Vec<(&String, &Value)> {
    let rank = |key: &str| FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len());
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| rank(key));
    entries
}

/// A key as it is written: in quotes where it has more than letters, numbers, `-` and `_`.
fn written(key: &str) -> String {
    let is_bare = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if is_bare { key.to_string() } else { Value::from(key).to_string() }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Table(table) => {
            let entries = ordered(table)
                .into_iter()
                .map(|(key, value)| format!("{} = {}", written(key), inline(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(inline).collect::<Vec<_>>().join(", ")),
        scalar => scalar.to_string(),
    }
}

/// Whether a value goes on the line of its key.
fn is_short(key: &str, value: &Value) -> bool {
    let is_tables =
        |values: &[Value]| !values.is_empty() && values.iter().all(|value| matches!(value, Value::Table(_)));
    match value {
        Value::Table(table) => {
            !matches!(key, "cluster" | "network" | "run")
                && table.len() < 8
                && inline(value).len() <= LINE_MAX
        }
        Value::Array(values) if is_tables(values) => {
            !matches!(key, "datacenter" | "client" | "job" | "fault" | "workflow")
                && inline(value).len() <= LINE_MAX
        }
        _ => true,
    }
}

fn section(table: &Table, name: &str, out: &mut String) {
    let entries = ordered(table);
    for (key, value) in entries.iter().filter(|(key, value)| is_short(key, value)) {
        out.push_str(&format!("{} = {}\n", written(key), inline(value)));
    }
    for (key, value) in entries.iter().filter(|(key, value)| !is_short(key, value)) {
        let key = written(key);
        let name = if name.is_empty() { key } else { format!("{name}.{key}") };
        match value {
            Value::Table(inner) => {
                out.push_str(&format!("\n[{name}]\n"));
                section(inner, &name, out);
            }
            Value::Array(values) => {
                for inner in values.iter().filter_map(Value::as_table) {
                    out.push_str(&format!("\n[[{name}]]\n"));
                    section(inner, &name, out);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::draw;

    #[test]
    fn what_is_written_is_the_same_plan_and_less_of_it() {
        for seed in 0..40 {
            let plan = draw(seed);
            let text = plan.to_readable();
            assert_eq!(Plan::from_toml(&text).as_ref(), Ok(&plan), "{text}");
            assert!(text.lines().count() < plan.to_toml().lines().count(), "{text}");
        }
    }
}
