//! What other programs read: JUnit for build servers, annotations for GitHub.

use std::fmt::Write as _;
use std::path::Path;

use super::Trouble;
use super::shrink::write;
use crate::runner::Sum;

/// One case with what came of it.
struct Suite {
    id: String,
    file: String,
    seeds: u64,
    seconds: f64,
    /// Seed, title and text of each failure.
    failures: Vec<(u64, String, String)>,
}

/// Collects cases for a JUnit file.
#[derive(Default)]
pub(super) struct Junit(Vec<Suite>);

impl Junit {
    pub(super) fn case(
        &mut self,
        id: &str,
        file: &str,
        seconds: f64,
        sum: &Sum,
        replay: &impl Fn(u64) -> String,
    ) {
        let failure = |failure: &crate::runner::Failure| {
            let violation = &failure.violation;
            let text = format!("at {} ms: {}\n{}", violation.at_ms, violation.message, replay(failure.seed));
            (failure.seed, violation.oracle.clone(), text)
        };
        let failures = sum.failures.iter().map(failure).collect();
        self.0.push(Suite { id: id.into(), file: file.into(), seeds: sum.seeds, seconds, failures });
    }

    /// A test case for each case that passed, and one for each seed that failed.
    pub(super) fn write(&self, file: &Path) -> Result<(), Trouble> {
        let failures: usize = self.0.iter().map(|suite| suite.failures.len()).sum();
        let tests: usize = self.0.iter().map(|suite| suite.failures.len().max(1)).sum();
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let _ = writeln!(out, "<testsuites tests=\"{tests}\" failures=\"{failures}\">");
        for suite in &self.0 {
            let (count, of) = (suite.failures.len(), suite.failures.len().max(1));
            let (id, file) = (escape(&suite.id), escape(&suite.file));
            let _ = writeln!(
                out,
                "<testsuite name=\"{id}\" file=\"{file}\" tests=\"{of}\" failures=\"{count}\" time=\"{:.3}\">",
                suite.seconds
            );
            if suite.failures.is_empty() {
                let _ = writeln!(out, "<testcase classname=\"{id}\" name=\"{} seeds\"/>", suite.seeds);
            }
            for (seed, title, text) in &suite.failures {
                let _ = writeln!(
                    out,
                    "<testcase classname=\"{id}\" name=\"seed {seed}\"><failure message=\"{}\">{}</failure></testcase>",
                    escape(title),
                    escape(text)
                );
            }
            let _ = writeln!(out, "</testsuite>");
        }
        out.push_str("</testsuites>\n");
        write(file, &out)
    }
}

fn escape(text: &str) -> String {
    let sound = |c: char| c == '\n' || c == '\t' || !c.is_control();
    text.chars()
        .filter(|c| sound(*c))
        .collect::<String>()
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// One line that GitHub shows at the file of a case.
pub(super) fn annotation(id: &str, file: &str, seed: u64, oracle: &str, message: &str) -> String {
    // As `actions/toolkit` has it: properties escape more than the text.
    let text = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |words: &str| text(words).replace(':', "%3A").replace(',', "%2C");
    let place = if file.is_empty() { String::new() } else { format!("file={},", property(file)) };
    format!("::error {place}title={}::{}", property(&format!("{id} seed {seed}: {oracle}")), text(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::Failure;
    use crate::world::Violation;

    #[test]
    fn what_is_special_in_xml_is_escaped() {
        let violation = Violation { oracle: "a < b".into(), at_ms: 7, message: "\"x\" & \u{1}y".into() };
        let sum = Sum { seeds: 2, failures: vec![Failure { seed: 1, violation }], ..Sum::default() };
        let mut junit = Junit::default();
        junit.case("G-1", "a.toml", 0.5, &sum, &|seed| format!("replay {seed}"));
        junit.case("G-2", "b.toml", 0.5, &Sum { seeds: 3, ..Sum::default() }, &|seed| {
            format!("replay {seed}")
        });
        let file = std::env::temp_dir().join(format!("tidegate-junit-{}.xml", std::process::id()));
        junit.write(&file).map_err(|why| why.0).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert!(text.contains("<testsuites tests=\"2\" failures=\"1\">"), "{text}");
        assert!(
            text.contains("message=\"a &lt; b\">at 7 ms: &quot;x&quot; &amp; y\nreplay 1</failure>"),
            "{text}"
        );
        assert!(text.contains("<testcase classname=\"G-2\" name=\"3 seeds\"/>"), "{text}");
    }

    #[test]
    fn an_annotation_is_one_line() {
        let line = annotation("G-1,x", "a:b.toml", 3, "liveness", "100 %\nmore: words");
        assert_eq!(line, "::error file=a%3Ab.toml,title=G-1%2Cx seed 3%3A liveness::100 %25%0Amore: words");
    }
}
