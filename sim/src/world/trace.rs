//! The story of a run in words, line by line.

use std::fmt::Write as _;
use std::io::Write;

use tidegate_core::effect::Effect;
use tidegate_core::event::Event;
use tidegate_core::observe::Observation;

use super::facts::{HostIx, Scene};

/// Longest line: what comes after is cut.
const LINE_MAX: usize = 320;

/// Writes the story.
pub struct Trace {
    out: Box<dyn Write>,
    in_full: bool,
}

impl Trace {
    /// Into this.
    pub fn new(out: Box<dyn Write>) -> Self {
        Self { out, in_full: false }
    }

    /// Into this, and with what a person rarely wants to read: that a timer woke a node, every effect, whole lines.
    pub fn in_full(out: Box<dyn Write>) -> Self {
        Self { out, in_full: true }
    }

    /// Something happened.
    pub(super) fn line(&mut self, scene: &Scene, text: &str) {
        let mut line = format!("{:>11.6}s  {}", scene.now as f64 / 1e9, with_names(scene, text));
        if line.len() > LINE_MAX && !self.in_full {
            let cut = (0..=LINE_MAX).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
            line.truncate(cut);
            line.push_str(" ...");
        }
        // A reader that has gone away must not change the run.
        let _ = writeln!(self.out, "{line}");
    }

    /// A node handles an event.
    pub(super) fn event(&mut self, scene: &Scene, host: HostIx, event: &Event) {
        let name = scene.name(host);
        let text = match event {
            Event::Wake if !self.in_full => return,
            Event::Received { peer, message } => format!("{name} <- {}: {message:?}", scene.node_name(*peer)),
            Event::Datagram { packet, .. } => format!("{name} <~ {packet:?}"),
            Event::Stored { token } => format!("{name}: stored {}", token.0),
            other => format!("{name}: {other:?}"),
        };
        self.line(scene, &text);
    }

    /// A node wants something done.
    pub(super) fn effect(&mut self, scene: &Scene, host: HostIx, effect: &Effect) {
        // What it says is told by itself.
        if self.in_full && !matches!(effect, Effect::Observe(_)) {
            self.line(scene, &format!("{} wants {effect:?}", scene.name(host)));
        }
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
