//! What is wrong with a configuration, and where.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A configuration that cannot be used. Its text has the form `FILE:LINE:COLUMN: what is wrong; what would be right`,
/// with the line itself below.
#[derive(Debug)]
pub struct ConfigError {
    path: PathBuf,
    place: Option<Place>,
    message: String,
}

#[derive(Debug)]
struct Place {
    line: usize,
    column: usize,
    text: String,
    width: usize,
}

impl ConfigError {
    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self { path: path.to_owned(), place: None, message: format!("cannot read it: {error}") }
    }

    pub(super) fn from_toml(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        Self::at(path, text, error.span(), error.message().to_owned())
    }

    /// An error at a place of the text, in bytes.
    pub(super) fn at(path: &Path, text: &str, span: Option<Range<usize>>, message: String) -> Self {
        let place = span.map(|span| {
            let begin = span.start.min(text.len());
            let line_begin = text[..begin].rfind('\n').map_or(0, |at| at + 1);
            let line_text = text[line_begin..].lines().next().unwrap_or_default();
            let column = text[line_begin..begin].chars().count();
            let rest = line_text.chars().count().saturating_sub(column);
            let width = text.get(begin..span.end.min(text.len())).map_or(1, |found| found.chars().count());
            Place {
                line: text[..line_begin].matches('\n').count() + 1,
                column: column + 1,
                text: line_text.to_owned(),
                width: width.min(rest).max(1),
            }
        });
        Self { path: path.to_owned(), place, message }
    }

    /// Line and column, from 1, where the error has a place.
    pub fn place(&self) -> Option<(usize, usize)> {
        self.place.as_ref().map(|place| (place.line, place.column))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(place) = &self.place else {
            return write!(f, "{}: {}", self.path.display(), self.message);
        };
        let (line, column) = (place.line, place.column);
        writeln!(f, "{}:{line}:{column}: {}", self.path.display(), self.message)?;
        let margin = " ".repeat(line.to_string().len());
        writeln!(f, "{margin} |\n{line} | {}", place.text)?;
        write!(f, "{margin} | {}{}", " ".repeat(column - 1), "^".repeat(place.width))
    }
}

impl std::error::Error for ConfigError {}
