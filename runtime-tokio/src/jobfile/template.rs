//! Templates: text with `{{vu}}`, `{{iter}}`, `{{env.X}}`, `{{secret.X}}` and `{{target}}`.
//!
//! Parsing resolves `env` and `target`, from the machine that submits. `vu`, `iter` and secrets stay placeholders;
//! the worker fills them in. What was filled in is never read as a template again.

use std::cell::Cell;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::problem::closest;

/// Text with placeholders, as a worker gets it. Holds names of secrets, never their values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(pub Vec<Piece>);

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// As it is.
    Text(String),
    /// The number of the virtual user.
    Vu,
    /// The number of its iteration.
    Iter,
    /// A secret that the worker knows under this name.
    Secret(String),
}

impl Template {
    /// The text, where nothing is left to fill in.
    pub fn as_text(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    fn push(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.0.push(Piece::Text(text.to_string())),
        }
    }
}

/// Where the names of a template come from.
pub struct Names<'a> {
    /// The submitter's environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// What `{{target}}` stands for.
    pub target: &'a super::Target,
    /// Whether `vu` and `iter` mean anything here.
    pub users: bool,
    /// Set where `{{target}}` was used.
    pub uses_target: &'a Cell<bool>,
}

/// What is wrong with a template, and where in its text.
#[derive(Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// Byte range in the text.
    pub span: std::ops::Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Reads a template; every unknown name is an error of its own.
pub fn parse(text: &str, names: &Names<'_>) -> Result<Template, Vec<TemplateError>> {
    let (mut template, mut errors) = (Template::default(), Vec::new());
    let mut at = 0;
    while let Some(open) = text[at..].find("{{").map(|found| at + found) {
        template.push(&text[at..open]);
        let Some(close) = text[open..].find("}}").map(|found| open + found) else {
            errors.push(TemplateError {
                span: open..text.len(),
                message: "`{{` without `}}`".to_string(),
                help: Some("close it: {{vu}}".to_string()),
            });
            return Err(errors);
        };
        let span = open..close + 2;
        match names.resolve(text[open + 2..close].trim()) {
            Ok(Filled::Text(value)) => template.push(&value),
            Ok(Filled::Later(piece)) => template.0.push(piece),
            Err((message, help)) => errors.push(TemplateError { span, message, help }),
        }
        at = close + 2;
    }
    template.push(&text[at..]);
    if errors.is_empty() { Ok(template) } else { Err(errors) }
}

enum Filled {
    Text(String),
    Later(Piece),
}

impl Names<'_> {
    fn resolve(&self, name: &str) -> Result<Filled, (String, Option<String>)> {
        match name.split_once('.') {
            Some(("env", variable)) if is_name(variable) => {
                (self.env)(variable).map(Filled::Text).ok_or_else(|| {
                    let help = format!(
                        "set {variable} where the job is submitted; its value becomes part of the job"
                    );
                    (format!("the environment variable {variable} is not set"), Some(help))
                })
            }
            Some(("secret", secret)) if is_name(secret) => {
                Ok(Filled::Later(Piece::Secret(secret.to_string())))
            }
            Some((kind @ ("env" | "secret"), name)) => Err((
                format!("{name:?} cannot be a name in {kind}"),
                Some("names have letters, digits and `_`, and at most 64 of them".to_string()),
            )),
            _ => self.resolve_plain(name),
        }
    }

    fn resolve_plain(&self, name: &str) -> Result<Filled, (String, Option<String>)> {
        match name {
            "vu" | "iter" if !self.users => Err((
                format!("{{{{{name}}}}} means nothing here: only `http` has virtual users"),
                Some("an instance finds its number in the variable TIDEGATE_INSTANCE".into()),
            )),
            "vu" => Ok(Filled::Later(Piece::Vu)),
            "iter" => Ok(Filled::Later(Piece::Iter)),
            "target" => {
                self.uses_target.set(true);
                self.target.url().map(Filled::Text).ok_or_else(|| {
                    (
                        "{{target}} is not known".to_string(),
                        Some("say where to aim: --target http://host:port".into()),
                    )
                })
            }
            "data" | "extract" => Err(reserved(name)),
            _ if name.starts_with("data.") || name.starts_with("extract.") => {
                Err(reserved(name.split('.').next().unwrap_or(name)))
            }
            _ => {
                let known = ["vu", "iter", "env.NAME", "secret.NAME", "target"];
                let help = match closest(name, ["vu", "iter", "target"]) {
                    Some(meant) => format!("did you mean {{{{{meant}}}}}?"),
                    None => format!("known are {}", known.map(|name| format!("{{{{{name}}}}}")).join(", ")),
                };
                Err((format!("unknown name {name:?} in a template"), Some(help)))
            }
        }
    }
}

fn reserved(name: &str) -> (String, Option<String>) {
    (
        format!("`{name}` is a reserved name"),
        Some("it is kept for a later version of the job file; this version has no use of it".to_string()),
    )
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}
