//! Progress while a job runs: one redrawn block at a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tidegate_core::api::{ClientEvent, ClientEventKind, DcProgressView};
use tidegate_core::id::DcEpoch;
use tidegate_core::jobs::Totals;

use super::{Figures, duration, grouped, latency};
use crate::cli::remote::Gate;

/// Shows the events of one job. Writes to standard error, so that standard output stays for results.
pub struct Live {
    bar: Option<ProgressBar>,
    quiet: bool,
    planned_ms: Option<u64>,
    workflows: Vec<String>,
    last_plain: Option<Instant>,
    retries: Vec<(usize, String)>,
}

impl Live {
    /// Plain lines come at most this often.
    const PLAIN_EVERY: Duration = Duration::from_secs(2);

    /// `planned_ms`: how long the job should take; `workflows`: their names. Where that is known.
    pub fn new(quiet: bool, planned_ms: Option<u64>, workflows: Vec<String>) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(planned_ms.unwrap_or(0));
            let style = ProgressStyle::with_template("{bar:30} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, quiet, planned_ms, workflows, last_plain: None, retries: Vec::new() }
    }

    /// Says that a gate did not serve, and why; each gate's reason once, until there is news of the job again.
    pub fn retry(&mut self, number: usize, gate: &Gate, why: &str) {
        let retry = (number, why.to_owned());
        if self.retries.contains(&retry) {
            return;
        }
        // What the connection says begins with the gate already.
        let why = why.strip_prefix(&format!("{gate}: ")).unwrap_or(why);
        self.line(&format!("{gate}: {why}; trying the next gate until one serves the job"));
        self.retries.push(retry);
    }

    /// Shows one event.
    pub fn event(&mut self, event: &ClientEvent) {
        self.retries.clear();
        match &event.kind {
            ClientEventKind::Progress { elapsed_ms, per_dc } => self.progress((*elapsed_ms).into(), per_dc),
            ClientEventKind::Accepted { targets } => {
                let targets: Vec<_> = targets.iter().map(|dc| dc.as_str()).collect();
                self.line(&format!("job {} accepted for {}", event.job, targets.join(", ")));
            }
            ClientEventKind::Status { status, message } => {
                let colon = if message.is_empty() { "" } else { ": " };
                self.line(&format!("{}{colon}{message}", status.as_str()));
            }
            ClientEventKind::WorkflowResult { workflow, dc, status, why } => {
                let colon = if why.is_empty() { "" } else { ": " };
                let name = self.workflows.get(usize::from(workflow.0));
                let name = name.map_or_else(|| workflow.to_string(), |name| format!("{name:?}"));
                self.line(&format!("workflow {name} in {dc} {}{colon}{why}", status.as_str()));
            }
            ClientEventKind::Owner { owner, gate_epoch } => {
                self.line(&format!("another gate took the job over: {owner} (epoch {gate_epoch})"));
            }
            // The first owner is no news for a person.
            ClientEventKind::DcOwner { dc_epoch: DcEpoch(0 | 1), .. } => {}
            ClientEventKind::DcOwner { dc, owner, dc_epoch } => {
                self.line(&format!("another manager took the job over in {dc}: {owner} (epoch {dc_epoch})"));
            }
            ClientEventKind::CancelDone { cancelled, killed } => {
                self.line(&format!("cancelled: {cancelled} shards stopped, {killed} killed or out of reach"));
            }
            ClientEventKind::Gap { missed: 0 } => {
                self.line("some progress was not kept; totals are not affected")
            }
            ClientEventKind::Gap { missed } => {
                self.line(&format!("{missed} progress events were not kept; totals are not affected"));
            }
            ClientEventKind::Final(_) | ClientEventKind::StatsWindow { .. } => {}
        }
    }

    /// Says something that stays on the screen.
    pub fn line(&self, text: &str) {
        match &self.bar {
            _ if self.quiet => {}
            Some(bar) => bar.println(text),
            None => {
                // A closed standard error must not end a run that is measuring.
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
    }

    /// Removes the block.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn progress(&mut self, elapsed_ms: u64, per_dc: &[DcProgressView]) {
        let mut all = Totals::default();
        // Datacenters report at different times: their rates add up, while all requests over the longest time would be
        // too low.
        let mut rate_per_s = 0.0;
        for dc in per_dc {
            all.merge(&dc.totals);
            rate_per_s += Figures::from_totals(&dc.totals).rate_per_s;
        }
        let all = figures("all", &Figures { rate_per_s, ..Figures::from_totals(&all) });
        let mut head = duration(elapsed_ms);
        if let Some(planned) = self.planned_ms {
            head += &format!(", {} left", duration(planned.saturating_sub(elapsed_ms)));
        }
        match &self.bar {
            Some(bar) => {
                bar.set_position(elapsed_ms.min(bar.length().unwrap_or(u64::MAX)));
                let mut text = format!("{head}\n{all}");
                for dc in per_dc {
                    text += &format!("\n{}", figures(dc.dc.as_str(), &Figures::from_totals(&dc.totals)));
                }
                bar.set_message(text);
            }
            None if self.last_plain.is_none_or(|last| last.elapsed() >= Self::PLAIN_EVERY) => {
                self.last_plain = Some(Instant::now());
                let mut text = format!("{head} | {all}");
                for dc in per_dc {
                    text += &format!(" | {}", figures(dc.dc.as_str(), &Figures::from_totals(&dc.totals)));
                }
                self.line(&text);
            }
            None => {}
        }
    }
}

fn figures(name: &str, figures: &Figures) -> String {
    let mut text = format!(
        "{name}: {:.1} req/s, {} ok, {} errors",
        figures.rate_per_s,
        grouped(figures.ok),
        grouped(figures.errors)
    );
    if let Some(latencies) = &figures.latency {
        text += &format!(
            ", p50 {} p95 {} p99 {}",
            latency(latencies.p50_us),
            latency(latencies.p95_us),
            latency(latencies.p99_us)
        );
    }
    text
}
