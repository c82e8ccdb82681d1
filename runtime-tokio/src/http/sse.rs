//! A job's events as server-sent events.

use tidegate_core::api::{ClientEvent, ClientEventKind, EventPos};
use tidegate_core::id::GateEpoch;

/// The id of an event: `kept.epoch.vol`.
pub fn id_of(pos: EventPos) -> String {
    format!("{}.{}.{}", pos.kept, pos.epoch, pos.vol)
}

/// Reads an id; `None` where it is not one.
pub fn parse_id(text: &str) -> Option<EventPos> {
    let mut parts = text.split('.');
    let kept = parts.next()?.parse().ok()?;
    let epoch = GateEpoch(parts.next()?.parse().ok()?);
    let vol = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some(EventPos { kept, epoch, vol })
}

/// The event's name in the stream: the same word as its `type` in JSON.
pub const fn name_of(kind: &ClientEventKind) -> &'static str {
    match kind {
        ClientEventKind::Accepted { .. } => "accepted",
        ClientEventKind::Status { .. } => "status",
        ClientEventKind::WorkflowResult { .. } => "workflow_result",
        ClientEventKind::Owner { .. } => "owner",
        ClientEventKind::DcOwner { .. } => "dc_owner",
        ClientEventKind::CancelDone { .. } => "cancel_done",
        ClientEventKind::Final(_) => "final",
        ClientEventKind::Progress { .. } => "progress",
        ClientEventKind::StatsWindow { .. } => "stats_window",
        ClientEventKind::Gap { .. } => "gap",
    }
}

/// One event in the format of the stream.
pub fn frame(event: &ClientEvent) -> Result<axum::response::sse::Event, axum::Error> {
    axum::response::sse::Event::default().event(name_of(&event.kind)).id(id_of(event.pos)).json_data(event)
}

/// Reads a stream piece by piece: give it bytes as they come, take events as they are whole.
#[derive(Default)]
pub struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// The longest event that is read; a final result with all its histograms stays below.
    pub const MAX_EVENT: usize = 16 << 20;

    /// Adds bytes; `Err` where an event is too long.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.buffer.len() + bytes.len() > Self::MAX_EVENT {
            return Err(format!("an event of the stream is over {} bytes", Self::MAX_EVENT));
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole event; `None` until more bytes come. Comments and unknown fields are skipped.
    pub fn next_event(&mut self) -> Option<Result<ClientEvent, String>> {
        loop {
            let end = self.buffer.windows(2).position(|pair| pair == b"\n\n")?;
            let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let mut data = Vec::new();
            for line in block.split(|&byte| byte == b'\n') {
                if let Some(rest) = line.strip_prefix(b"data:") {
                    data.extend_from_slice(rest.strip_prefix(b" ").unwrap_or(rest));
                }
            }
            if !data.is_empty() {
                return Some(serde_json::from_slice(&data).map_err(|error| format!("bad event: {error}")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_core::id::JobId;

    #[test]
    fn ids_survive_the_way_there_and_back() {
        let pos = EventPos { kept: 7, epoch: GateEpoch(2), vol: 31 };
        assert_eq!(parse_id(&id_of(pos)), Some(pos));
        for bad in ["", "7", "7.2", "7.2.31.1", "7.-2.1", "a.b.c"] {
            assert_eq!(parse_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_stream_cut_at_any_byte_gives_the_same_events() {
        let event = |kept, missed| ClientEvent {
            job: JobId([3; 16]),
            pos: EventPos { kept, epoch: GateEpoch(1), vol: 0 },
            kind: ClientEventKind::Gap { missed },
        };
        let events = [event(1, 4), event(2, 9)];
        let mut bytes = b": keep-alive\n\n".to_vec();
        for event in &events {
            let json = serde_json::to_string(event).expect("an event is JSON");
            bytes.extend(format!("event: gap\nid: {}\ndata: {json}\n\n", id_of(event.pos)).into_bytes());
        }
        for cut in 0..bytes.len() {
            let mut reader = Reader::default();
            let mut seen = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                reader.push(part).expect("short");
                while let Some(event) = reader.next_event() {
                    seen.push(event.expect("whole"));
                }
            }
            assert_eq!(seen, events, "cut at {cut}");
        }
    }
}
