//! The causal story of a run in words: few lines, in order, each with what set it off.

use std::fmt::Write as _;

use super::cone::cone;
use super::record::{Event, Kind, Record};

/// Lines at most, with those at the top and the bottom.
pub const LINES_MAX: usize = 58;
/// Longest line: what comes after is cut.
const LINE_MAX: usize = 150;
/// What goes on all the time, and is told only where there is room.
const ROUTINE: &[&str] = &[
    "DcProgress",
    "Member",
    "WorkerRegistered",
    "StateDigest",
    "event Progress",
    "event StatsWindow",
    "Ignored",
];

/// The story.
pub fn story(record: &Record) -> String {
    let cone = cone(record);
    let mut told: Vec<usize> = cone.iter().copied().filter(|&place| is_told(&record.events[place])).collect();
    told.dedup_by(|b, a| same(&record.events[*a], &record.events[*b]));
    let frame = 3 + usize::from(record.violation.is_some());
    let left_out = shorten(record, &mut told, LINES_MAX - frame);

    let mut out = String::new();
    let messages = cone.iter().filter(|&&place| record.events[place].kind == Kind::Receive).count();
    let _ = writeln!(
        out,
        "{} of {} events can have led to it; {messages} messages.",
        cone.len(),
        record.events.len()
    );
    if left_out > 0 {
        let _ = writeln!(out, "{left_out} of them are not told here.");
    }
    let width = record.hosts.iter().map(String::len).max().unwrap_or(0);
    for place in told {
        let _ = writeln!(out, "{}", cut(&line(record, place, width)));
    }
    if let Some(violation) = &record.violation {
        let first = violation.message.lines().next().unwrap_or_default();
        let _ = writeln!(out, "{}", cut(&format!("VIOLATION of {:?}: {first}", violation.oracle)));
    }
    out
}

/// Messages are told with what they set off.
const fn is_told(event: &Event) -> bool {
    !matches!(event.kind, Kind::Send | Kind::Receive)
}

/// Whether two events in a row say the same.
fn same(a: &Event, b: &Event) -> bool {
    (a.host, &a.name, &a.detail, &a.job) == (b.host, &b.name, &b.detail, &b.job)
        || (a.kind, b.kind) == (Kind::Write, Kind::Write) && a.host == b.host && a.name == b.name
        || a.name == "healed" && b.name == "healed"
}

/// Leaves out the least telling, the oldest first; tells how many.
fn shorten(record: &Record, told: &mut Vec<usize>, room: usize) -> usize {
    let before = told.len();
    for rank in (1..=5).rev() {
        while told.len() > room {
            let Some(at) = told.iter().position(|&place| rank_of(&record.events[place]) == rank) else {
                break;
            };
            told.remove(at);
        }
    }
    // Only what always is told is left: its oldest goes.
    let over = told.len().saturating_sub(room);
    told.drain(..over);
    before - told.len()
}

fn rank_of(event: &Event) -> u8 {
    match event.kind {
        _ if ROUTINE.contains(&event.name.as_str()) => 5,
        Kind::Write if event.name == "durable" => 5,
        Kind::Fault | Kind::Write => 0,
        Kind::Process => 1,
        Kind::Run | Kind::Client => 2,
        Kind::Observe => 3,
        Kind::Send | Kind::Receive => 4,
    }
}

fn line(record: &Record, place: usize, width: usize) -> String {
    let event = &record.events[place];
    let mut line = format!("{:>11.6}s  {:<width$}  ", event.at as f64 / 1e9, record.hosts[event.host]);
    let mark = if event.kind == Kind::Fault { "FAULT " } else { "" };
    let _ = write!(line, "{mark}{}", event.name);
    for part in [&event.detail, event.job.as_ref().unwrap_or(&String::new())] {
        if !part.is_empty() && !line.contains(part.as_str()) {
            let _ = write!(line, " {part}");
        }
    }
    if let Some(because) = because(record, event) {
        let _ = write!(line, "   <- {because}");
    }
    line
}

/// The message that set an event off, or who asked.
fn because(record: &Record, event: &Event) -> Option<String> {
    let cause = &record.events[event.cause?];
    let peer = || cause.peer.map(|peer| record.hosts[peer].as_str());
    match cause.kind {
        Kind::Receive => Some(format!("{} from {}", cause.name, peer()?)),
        Kind::Client if cause.host != event.host => {
            Some(format!("{} at {}", cause.name, record.hosts[cause.host]))
        }
        Kind::Client => Some(format!("{} of {}", cause.name, peer()?)),
        Kind::Fault => Some(cause.name.clone()),
        _ if cause.host != event.host => Some(format!("{} at {}", cause.name, record.hosts[cause.host])),
        _ => None,
    }
}

fn cut(line: &str) -> String {
    if line.chars().count() <= LINE_MAX {
        return line.to_string();
    }
    line.chars().take(LINE_MAX - 4).chain(" ...".chars()).collect()
}
