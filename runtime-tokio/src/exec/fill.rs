//! Templates on the worker: secrets are filled in once for a shard, virtual user and iteration for each request.
//! Neither type can be printed: both may hold secrets.

use std::fmt::Write;

use super::policy::Secrets;
use crate::jobfile::{Piece, Template};

/// A template that lacks only the virtual user and the iteration.
pub(super) struct Filled(Vec<Part>);

enum Part {
    Text(String),
    Vu,
    Iter,
}

impl Filled {
    /// Fills in the secrets. The error names the one that this worker does not know.
    pub(super) fn new(template: &Template, secrets: &Secrets) -> Result<Self, String> {
        let part = |piece: &Piece| match piece {
            Piece::Text(text) => Ok(Part::Text(text.clone())),
            Piece::Vu => Ok(Part::Vu),
            Piece::Iter => Ok(Part::Iter),
            Piece::Secret(name) => match secrets.get(name) {
                Some(value) => Ok(Part::Text(value.to_string())),
                None => Err(format!("this worker knows no secret named {name}")),
            },
        };
        template.0.iter().map(part).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it is the same for every request.
    pub(super) fn is_fixed(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// The text for one request.
    pub(super) fn text(&self, vu: u32, iter: u64) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                // Writing into a string cannot fail.
                Part::Vu => drop(write!(text, "{vu}")),
                Part::Iter => drop(write!(text, "{iter}")),
            }
        }
        text
    }
}
