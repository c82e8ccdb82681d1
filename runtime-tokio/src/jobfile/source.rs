//! The text of a job file: TOML with places. Finds every syntax error, every shape error of each table, and for a
//! path of keys the bytes that it names.

use std::ops::Range;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, ValueDeserializer};

use super::problem::{Problem, closest};
use super::types::{JobFile, Workflow};

/// One step of the way to a value.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A key of a table.
    Key(&'a str),
    /// An element of a list.
    Index(usize),
}

/// A parsed text, and what it says if it has the right shape.
pub struct Source<'a> {
    text: &'a str,
    root: Spanned<DeTable<'a>>,
}

impl<'a> Source<'a> {
    /// Reads the syntax.
    pub fn parse(text: &'a str) -> Result<Self, Vec<Problem>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Self { text, root });
        }
        let problem = |error: toml::de::Error| Problem {
            span: Some(error.span().unwrap_or(0..0)),
            message: format!("not TOML: {}", error.message().lines().collect::<Vec<_>>().join(", ")),
            help: None,
        };
        Err(errors.into_iter().map(problem).collect())
    }

    /// Reads the shape. Where it is wrong, the head of the file and each workflow are looked at on their own, and what
    /// is wrong is set aside to look at the rest, so that one mistake does not hide the others.
    pub fn read(&self) -> Result<JobFile, Vec<Problem>> {
        let whole = match JobFile::deserialize(Deserializer::from(self.root.clone())) {
            Ok(file) => return Ok(file),
            Err(error) => error,
        };
        let mut head = self.root.get_ref().clone();
        let mut problems = Vec::new();
        if let Some(DeValue::Array(workflows)) = head.get("workflow").map(Spanned::get_ref) {
            for workflow in workflows {
                match workflow.get_ref() {
                    DeValue::Table(table) => {
                        problems.extend(self.problems_of::<Workflow>(table.clone(), workflow.span()));
                    }
                    _ => problems.push(self.shape_problem(&whole)),
                }
            }
            head.remove("workflow");
        }
        problems.extend(self.problems_of::<JobFile>(head, self.root.span()));
        if problems.is_empty() {
            problems.push(self.shape_problem(&whole));
        }
        Err(problems)
    }

    /// What is wrong in one table: the entry with the first error is taken away, until none is left.
    fn problems_of<T: DeserializeOwned>(&self, mut table: DeTable<'a>, span: Range<usize>) -> Vec<Problem> {
        let (mut problems, mut removed) = (Vec::new(), Vec::new());
        loop {
            let attempt = Spanned::new(span.clone(), DeValue::Table(table.clone()));
            let Err(error) = T::deserialize(ValueDeserializer::from(attempt)) else { return problems };
            let own = |key: &String| error.message() == format!("missing field `{key}`");
            if removed.iter().any(own) {
                return problems;
            }
            problems.push(self.shape_problem(&error));
            let at = error.span().map_or(0, |span| span.start);
            let wrong = table
                .iter()
                .find(|(key, value)| key.span().contains(&at) || value.span().contains(&at))
                .map(|(key, _)| key.get_ref().to_string());
            let Some(key) = wrong else { return problems };
            table.remove(key.as_str());
            removed.push(key);
        }
    }

    fn shape_problem(&self, error: &toml::de::Error) -> Problem {
        let (message, help) = explain(error.message());
        Problem { span: Some(error.span().unwrap_or(0..0)), message, help }
    }

    /// The bytes of the value at the end of the path, or of the last table on the way that exists.
    pub fn span(&self, path: &[Step<'_>]) -> Range<usize> {
        let (mut span, mut table, mut value) = (0..0, Some(self.root.get_ref()), None::<&DeValue<'a>>);
        for step in path {
            let next = match (step, table, value) {
                (Step::Key(key), Some(table), _) => table.get(*key),
                (Step::Index(at), None, Some(DeValue::Array(array))) => array.get(*at),
                _ => None,
            };
            let Some(next) = next else { break };
            span = next.span();
            value = Some(next.get_ref());
            table = next.get_ref().as_table();
        }
        span
    }

    /// The bytes of a part of the string at the end of the path; the whole value where escapes shift the places.
    pub fn span_in(&self, path: &[Step<'_>], text: &str, part: Range<usize>) -> Range<usize> {
        let whole = self.span(path);
        match self.text.get(whole.clone()).and_then(|raw| raw.find(text)) {
            Some(lead) if !text.is_empty() => whole.start + lead + part.start..whole.start + lead + part.end,
            _ => whole,
        }
    }
}

/// Makes of a reader's message what is wrong and what would be right.
fn explain(message: &str) -> (String, Option<String>) {
    if let Some(rest) = message.strip_prefix("unknown field `")
        && let Some((name, known)) = rest.split_once('`')
    {
        if matches!(name, "data" | "extract") {
            let help = "it is kept for a later version of the job file; this version has no use of it";
            return (format!("`{name}` is a reserved name"), Some(help.to_string()));
        }
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        let help = match closest(name, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("fields here: {}", known.join(", ")),
        };
        return (format!("unknown field `{name}`"), Some(help));
    }
    if let Some(rest) = message.strip_prefix("unknown variant `")
        && let Some((name, known)) = rest.split_once('`')
    {
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        return (format!("{name:?} is not known here"), Some(format!("write one of {}", known.join(", "))));
    }
    if message.contains("invalid type: map, expected a sequence") {
        let help = "a list of tables is written [[workflow]], [[workflow.http.requests]]";
        return ("one table where a list is expected".to_string(), Some(help.to_string()));
    }
    match message.split_once(", expected ") {
        Some((wrong, "u16" | "u32")) => (wrong.to_string(), Some("expected a whole number".to_string())),
        Some((wrong, right)) => (wrong.to_string(), Some(format!("expected {right}"))),
        None => (message.to_string(), None),
    }
}
