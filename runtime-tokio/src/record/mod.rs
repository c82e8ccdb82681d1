//! Recordings of a node's life, and their replay.
//!
//! A recording is what the node was given (its boot, then each event with its time) and, after each step, the running
//! digest of what came out. A step is a pure function, so [`replay`] must give the same digests; the first that differs
//! is named. Items are CBOR, each after its length (`u32`, big endian). A recording holds what the node held: job files
//! and the names of secrets, never their values, which enter no event.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use minicbor::{Decode, Encode};
use tidegate_core::digest::Digest;
use tidegate_core::effect::HaltReason;
use tidegate_core::{Boot, Effect, Effects, Event, Node, Now};

#[cfg(test)]
mod tests;

/// First bytes of a recording; the last one is its format.
const MAGIC: &[u8; 8] = b"TIDEREC\x01";

/// Longest item: a boot with all its rows.
const MAX_ITEM: u32 = 1024 * 1024 * 1024;

/// One item of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
enum Item {
    /// What the node started from; the first item.
    #[n(0)]
    Boot(#[n(0)] Box<Boot>),
    /// What went into a step.
    #[n(1)]
    Step {
        #[n(0)]
        now: Now,
        #[n(1)]
        event: Event,
    },
    /// The digest of all effects so far, after that step.
    #[n(2)]
    Effects(#[n(0)] u64),
}

/// Writes a recording. When the file fails, recording ends, with an error in the log; the node goes on.
#[derive(Debug)]
pub struct Recorder {
    file: Option<BufWriter<File>>,
    path: PathBuf,
    digest: Digest,
}

impl Recorder {
    /// Begins the recording of a node that starts from `boot`. The file must not exist; only its owner may read it.
    pub fn create(path: &Path, boot: &Boot) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut file = BufWriter::new(file);
        file.write_all(MAGIC)?;
        write_item(&mut file, &Item::Boot(Box::new(boot.clone())))?;
        file.flush()?;
        Ok(Self { file: Some(file), path: path.to_owned(), digest: Digest::default() })
    }

    /// A step begins.
    pub(crate) fn event(&mut self, now: Now, event: &Event) {
        self.write(|| Item::Step { now, event: event.clone() });
    }

    /// The step has ended. It leaves the process with this: the life of one that is killed is there up to its last step.
    pub(crate) fn effects(&mut self, effects: &Effects) {
        fold(&mut self.digest, effects);
        let digest = self.digest.finish();
        self.write(|| Item::Effects(digest));
        self.keep(BufWriter::flush);
    }

    fn write(&mut self, item: impl FnOnce() -> Item) {
        self.keep(|file| write_item(file, &item()));
    }

    fn keep(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) {
        let Some(file) = &mut self.file else { return };
        if let Err(error) = write(file) {
            tracing::error!("recording to {} has ended: {error}", self.path.display());
            self.file = None;
        }
    }
}

fn write_item(file: &mut impl Write, item: &Item) -> io::Result<()> {
    let bytes = minicbor::to_vec(item).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    file.write_all(&length.to_be_bytes())?;
    file.write_all(&bytes)
}

fn fold(digest: &mut Digest, effects: &[Effect]) {
    effects.hash(digest);
}

/// What a replay found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Steps that gave the recorded effects.
    pub steps: u64,
    /// The digest of all effects.
    pub digest: u64,
}

/// Why a recording did not replay.
#[derive(Debug)]
pub enum ReplayError {
    /// The file cannot be read, or is no recording.
    File(io::Error),
    /// The node refused its boot.
    Boot(HaltReason),
    /// The effects differ.
    Diverged {
        /// The first step that differs, from 0.
        step: u64,
        /// Its time.
        now: Now,
        /// What went into it.
        event: Box<Event>,
        /// What came out now; the recording has other effects.
        effects: Vec<Effect>,
    },
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => write!(f, "not a usable recording: {error}"),
            Self::Boot(reason) => write!(f, "the node refuses the recorded boot: {reason:?}"),
            Self::Diverged { step, now, event, effects } => write!(
                f,
                "step {step} at {:?} differs from the recording\n  event:   {event:?}\n  effects: {effects:?}",
                now.mono
            ),
        }
    }
}

impl std::error::Error for ReplayError {}

impl From<io::Error> for ReplayError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

/// Runs a recorded life again and compares what comes out. A recording that ends inside an item, since its process was
/// killed, is replayed as far as it goes; each replayed step is given to `watch` with its effects.
pub fn replay(path: &Path, mut watch: impl FnMut(Now, &Event, &[Effect])) -> Result<Replayed, ReplayError> {
    let mut file = BufReader::new(File::open(path)?);
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return Err(
            io::Error::new(io::ErrorKind::InvalidData, "it does not begin as a recording does").into()
        );
    }
    let Some(Item::Boot(boot)) = read_item(&mut file)? else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it has no boot").into());
    };
    let mut node = Node::new(*boot).map_err(ReplayError::Boot)?;
    let mut replayed = Replayed { steps: 0, digest: Digest::default().finish() };
    let mut digest = Digest::default();
    while let Some(Item::Step { now, event }) = read_item(&mut file)? {
        let effects = node.step(now, event.clone());
        fold(&mut digest, &effects);
        watch(now, &event, &effects);
        let Some(Item::Effects(recorded)) = read_item(&mut file)? else { break };
        if recorded != digest.finish() {
            return Err(ReplayError::Diverged {
                step: replayed.steps,
                now,
                event: Box::new(event),
                effects: effects.into_vec(),
            });
        }
        replayed = Replayed { steps: replayed.steps + 1, digest: recorded };
    }
    Ok(replayed)
}

/// The next item; `None` at the end, and where the last one was cut off.
fn read_item(file: &mut impl Read) -> Result<Option<Item>, io::Error> {
    let mut length = [0; 4];
    if let Err(error) = file.read_exact(&mut length) {
        return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
    }
    let length = u32::from_be_bytes(length);
    if length > MAX_ITEM {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("an item of {length} bytes")));
    }
    // Grows with what is really there, so that a false length costs nothing.
    let mut bytes = Vec::new();
    file.take(length.into()).read_to_end(&mut bytes)?;
    if bytes.len() < length as usize {
        return Ok(None);
    }
    minicbor::decode(&bytes).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
