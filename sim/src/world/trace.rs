//! The story of a run in words, line by line.

use std::fmt::Write as _;
use std::io::Write;

use tidegate_core::event::Event;
use tidegate_core::observe::Observation;

use super::facts::{HostIx, Scene};

/// Longest line: what comes after is cut.
const LINE_MAX: usize = 320;

/// Writes the story.
pub struct Trace(Box<dyn Write>);

impl Trace {
    /// Into this.
    pub fn new(out: Box<dyn Write>) -> Self {
        Self(out)
    }

    /// Something happened.
    pub(super) fn line(&mut self, scene: &Scene, text: &str) {
        let mut line = format!("{:>11.6}s  {}", scene.now as f64 / 1e9, with_names(scene, text));
        if line.len() > LINE_MAX {
            let cut = (0..=LINE_MAX).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
            line.truncate(cut);
            line.push_str(" ...");
        }
        // A reader that has gone away must not change the run.
        let _ = writeln!(self.0, "{line}");
    }

    /// A node handles an event.
    pub(super) fn event(&mut self, scene: &Scene, host: HostIx, event: &Event) {
        let name = scene.name(host);
        let text = match event {
            Event::Wake => return,
            Event::Received { peer, message } => format!("{name} <- {}: {message:?}", scene.node_name(*peer)),
            Event::Datagram { packet, .. } => format!("{name} <~ {packet:?}"),
            Event::Stored { token } => format!("{name}: stored {}", token.0),
            other => format!("{name}: {other:?}"),
        };
        self.line(scene, &text);
    }

    /// A node says something.
    pub(super) fn observed(&mut self, scene: &Scene, host: HostIx, observation: &Observation) {
        self.line(scene, &format!("{} OBSERVES {observation:?}", scene.name(host)));
    }
}

/// Replaces the ids of nodes and jobs by their names.
fn with_names(scene: &Scene, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte.is_ascii_hexdigit()) {
        let len = rest[at..].bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str(&rest[..at]);
        let word = &rest[at..at + len];
        match (len, word.parse(), word.parse()) {
            (32, Ok(node), Ok(job)) => {
                let name =
                    scene.host(node).map_or_else(|| scene.job_name(job), |host| scene.name(host).to_string());
                let _ = write!(out, "{name}");
            }
            _ => out.push_str(word),
        }
        rest = &rest[at + len..];
    }
    out.push_str(rest);
    out
}
