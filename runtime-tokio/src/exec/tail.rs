//! The end of a process's output, bounded, with secrets covered.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::JoinSet;

use super::policy::Secrets;

/// How much of the output is kept, in bytes.
const KEPT: usize = 4 * 1024;

/// Reads output to its end and keeps the last of it.
pub(super) struct Tail {
    readers: JoinSet<()>,
    bytes: Arc<Mutex<Kept>>,
}

struct Kept {
    bytes: VecDeque<u8>,
    /// More than is shown, so that a secret at the edge is seen whole and covered.
    room: usize,
    overflowed: bool,
}

impl Tail {
    /// Begins to read. `longest_secret` in bytes.
    pub(super) fn read(
        stdout: Option<impl AsyncRead + Send + Unpin + 'static>,
        stderr: Option<impl AsyncRead + Send + Unpin + 'static>,
        longest_secret: usize,
    ) -> Self {
        let kept = Kept { bytes: VecDeque::new(), room: KEPT + longest_secret, overflowed: false };
        let mut tail = Self { readers: JoinSet::new(), bytes: Arc::new(Mutex::new(kept)) };
        if let Some(stdout) = stdout {
            tail.spawn(stdout);
        }
        if let Some(stderr) = stderr {
            tail.spawn(stderr);
        }
        tail
    }

    fn spawn(&mut self, mut output: impl AsyncRead + Send + Unpin + 'static) {
        let kept = self.bytes.clone();
        self.readers.spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer).await {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(&buffer[..count]);
            }
        });
    }

    /// The last of the output as one line of text, when it has ended or the patience is over.
    pub(super) async fn finish(mut self, patience: Duration, secrets: &Secrets) -> String {
        let all = async { while self.readers.join_next().await.is_some() {} };
        // Something that left the group may hold the pipe for ever; what was read until now is what counts.
        let _ = tokio::time::timeout(patience, all).await;
        self.readers.abort_all();
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).text(secrets)
    }
}

impl Kept {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let excess = self.bytes.len().saturating_sub(self.room);
        self.overflowed |= excess > 0;
        self.bytes.drain(..excess);
    }

    fn text(&mut self, secrets: &Secrets) -> String {
        let masked = secrets.mask(&String::from_utf8_lossy(self.bytes.make_contiguous()));
        // The first bytes may be the rest of a secret whose beginning is lost.
        let lost = if self.overflowed { self.room - KEPT } else { 0 };
        let from =
            (lost.min(masked.len())..=masked.len()).find(|&at| masked.is_char_boundary(at)).unwrap_or(0);
        let line = masked[from..].replace(|c: char| c.is_control(), " ");
        line.trim().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail_of(output: &str, secrets: &Secrets) -> String {
        let mut kept = Kept { bytes: VecDeque::new(), room: KEPT + secrets.longest(), overflowed: false };
        for part in output.as_bytes().chunks(7) {
            kept.push(part);
        }
        kept.text(secrets)
    }

    #[test]
    fn secrets_are_covered_wherever_the_cut_falls() {
        let secret = "correct horse battery staple";
        let secrets = Secrets::new([("S".into(), secret.into()), ("PART".into(), "horse".into())]);
        for lead in 0..200 {
            let output = format!("{}{secret}{}", "x".repeat(lead), "y".repeat(4 * 1024 - 100));
            let tail = tail_of(&output, &secrets);
            for part in ["correct", "horse", "battery", "staple", "aple"] {
                assert!(!tail.contains(part), "{lead}: {part} in {}", &tail[..60]);
            }
            assert!(tail.len() <= KEPT + 3);
        }
    }

    #[test]
    fn short_output_is_one_line() {
        assert_eq!(tail_of("one\ntwo\x1b[31m\n", &Secrets::default()), "one two [31m");
    }
}
