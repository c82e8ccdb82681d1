//! What is wrong in a file, where, and what would be right. Rendered like a compiler does.

use std::fmt;
use std::ops::Range;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, in bytes of the source; `None` where it concerns no place in the file.
    pub span: Option<Range<usize>>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

/// Everything that is wrong in one file, by place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    file: String,
    source: String,
    problems: Vec<Problem>,
}

impl Report {
    /// Most problems that are shown; a file with more has a deeper trouble.
    pub const MAX_SHOWN: usize = 20;

    /// Gathers problems about a file, sorted by place.
    pub fn new(file: &str, source: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span.as_ref().map(|span| (span.start, span.end)));
        problems.dedup();
        Self { file: file.to_string(), source: source.to_string(), problems }
    }

    /// A file that cannot even be read.
    pub fn unreadable(file: &str, why: impl Into<String>) -> Self {
        Self::new(file, "", vec![Problem { span: None, message: why.into(), help: None }])
    }

    /// The problems, by place; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Line and column of a problem, both from 1; columns count characters.
    pub fn position(&self, problem: &Problem) -> Option<(usize, usize)> {
        problem.span.as_ref().map(|span| {
            let place = Place::of(&self.source, span);
            (place.line, place.column)
        })
    }

    fn render(&self, problem: &Problem, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", problem.message)?;
        match &problem.span {
            None => {
                writeln!(f, "  --> {}", self.file)?;
                if let Some(help) = &problem.help {
                    writeln!(f, "   = {help}")?;
                }
            }
            Some(span) => {
                let place = Place::of(&self.source, span);
                let number = place.line.to_string();
                let margin = " ".repeat(number.len());
                writeln!(f, "{margin}--> {}:{}:{}", self.file, place.line, place.column)?;
                writeln!(f, "{margin} |")?;
                writeln!(f, "{number} | {}", place.text)?;
                let (lead, marks) = (" ".repeat(place.column - 1), "^".repeat(place.width));
                writeln!(f, "{margin} | {lead}{marks}")?;
                if let Some(help) = &problem.help {
                    writeln!(f, "{margin} = {help}")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().take(Self::MAX_SHOWN).enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            self.render(problem, f)?;
        }
        match self.problems.len().checked_sub(Self::MAX_SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => writeln!(f, "\n... and {more} more"),
        }
    }
}

impl std::error::Error for Report {}

/// A span as people see it: a line, the first character in it, how many of them.
struct Place {
    line: usize,
    column: usize,
    width: usize,
    text: String,
}

impl Place {
    fn of(source: &str, span: &Range<usize>) -> Self {
        let floor =
            |at: usize| (0..=at.min(source.len())).rev().find(|&i| source.is_char_boundary(i)).unwrap_or(0);
        let (start, end) = (floor(span.start), floor(span.end));
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
        // Tabs would shift the marks; control characters must not reach a terminal.
        let text = source[line_start..line_end].trim_end().replace(|c: char| c.is_control(), " ");
        let width = source[start..end.clamp(start, line_end)].trim_end().chars().count();
        Self {
            line: source[..start].matches('\n').count() + 1,
            column: source[line_start..start].chars().count() + 1,
            width: width.max(1),
            text,
        }
    }
}

/// The candidate that `name` was most likely meant to be, if one is close.
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace) from one word to the other; upper and lower case are alike.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}
