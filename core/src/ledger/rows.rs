//! The ledger's durable rows: their keys, their bytes, and reading them all at the start.
//!
//! Tables: `LEDGER` holds term and vote (`h`), the positions of log and state (`p`), one row per known node for its
//! lease (`l`), one for its applied proposals (`d`), and, on a disk that was found to be old, that it is (`o`); `LOG`
//! holds entries by index; `STATE` holds the tier's state.
//! Lease, proposal and state rows together are the *image*: what a snapshot carries and the digest covers.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use super::BadRow;
use super::message::{LogPos, LogRecord};
use crate::bytes::Bytes;
use crate::id::{NodeId, Term};
use crate::store::{RowKey, table};

/// Term and vote, which must never be forgotten, and the voters that this disk has voted with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Hard {
    #[n(0)]
    pub term: Term,
    #[n(1)]
    pub vote: Option<NodeId>,
    #[n(2)]
    pub voters: Vec<NodeId>,
}

/// Where the retained log begins and how far the image has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Positions {
    /// The last entry that is no longer in the log.
    #[n(0)]
    pub base: LogPos,
    /// The last entry whose effects are in the image's rows.
    #[n(1)]
    pub applied: u64,
}

/// A row of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ImageKey<'a> {
    Lease(NodeId),
    Applied(NodeId),
    State(&'a [u8]),
}

impl<'a> ImageKey<'a> {
    /// Reads a whole key; `None` where it is no key of the image.
    pub fn parse(key: &'a [u8]) -> Option<Self> {
        match key {
            [table::STATE, rest @ ..] if !rest.is_empty() => Some(Self::State(rest)),
            [table::LEDGER, b'l', node @ ..] => node.try_into().ok().map(|node| Self::Lease(NodeId(node))),
            [table::LEDGER, b'd', node @ ..] => node.try_into().ok().map(|node| Self::Applied(NodeId(node))),
            _ => None,
        }
    }
}

pub(super) fn hard_key() -> RowKey {
    Bytes(alloc::vec![table::LEDGER, b'h'])
}
pub(super) fn positions_key() -> RowKey {
    Bytes(alloc::vec![table::LEDGER, b'p'])
}
/// Once it is there the disk is refused at every start: its number of starts may come to pass for a newer one's.
pub(super) fn old_key() -> RowKey {
    Bytes(alloc::vec![table::LEDGER, b'o'])
}
pub(super) fn lease_key(node: NodeId) -> Vec<u8> {
    [&[table::LEDGER, b'l'][..], &node.0].concat()
}
pub(super) fn applied_key(node: NodeId) -> Vec<u8> {
    [&[table::LEDGER, b'd'][..], &node.0].concat()
}
pub(super) fn state_key(key: &[u8]) -> Vec<u8> {
    [&[table::STATE][..], key].concat()
}
pub(super) fn log_key(index: u64) -> RowKey {
    Bytes([&[table::LOG][..], &index.to_be_bytes()].concat())
}

/// Encodes into memory, which cannot fail.
pub(super) fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("encoding into memory")
}

/// Decodes a whole value.
pub(super) fn decode<T: for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<T, BadRow> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode().map_err(|_| BadRow)?;
    if decoder.position() == bytes.len() { Ok(value) } else { Err(BadRow) }
}

/// The ledger's rows as the disk holds them.
#[derive(Debug, Default)]
pub(super) struct Loaded<'a> {
    pub hard: Option<Hard>,
    pub positions: Positions,
    /// It was found to be an old disk.
    pub is_old: bool,
    /// The log after `positions.base`.
    pub log: VecDeque<LogRecord>,
    /// The rows of the image, by whole key.
    pub image: Vec<(&'a [u8], ImageKey<'a>, &'a [u8])>,
}

/// Sorts the boot's rows and checks that they fit together. Rows of other tables are left alone.
pub(super) fn load(rows: &[(RowKey, Bytes)]) -> Result<Loaded<'_>, BadRow> {
    let mut loaded = Loaded::default();
    let mut log = Vec::new();
    for (key, value) in rows {
        if let Some(image_key) = ImageKey::parse(key) {
            loaded.image.push((key, image_key, value));
        } else if *key == hard_key() {
            loaded.hard = Some(decode(value)?);
        } else if *key == positions_key() {
            loaded.positions = decode(value)?;
        } else if *key == old_key() {
            loaded.is_old = true;
        } else if let [table::LOG, index @ ..] = &key[..] {
            let index = u64::from_be_bytes(index.try_into().map_err(|_| BadRow)?);
            log.push((index, decode::<LogRecord>(value)?));
        } else if matches!(key.first(), Some(&table::LEDGER | &table::STATE)) {
            return Err(BadRow);
        }
    }
    log.sort_by_key(|(index, _)| *index);
    let mut last = loaded.positions.base;
    for (index, record) in log {
        let opens_term = record.payload.is_none();
        let fits = if opens_term { record.term > last.term } else { record.term == last.term };
        if Some(index) != last.index.checked_add(1) || !fits {
            return Err(BadRow);
        }
        last = LogPos { term: record.term, index };
        loaded.log.push_back(record);
    }
    let term = loaded.hard.as_ref().map_or(Term(0), |hard| hard.term);
    let applied_fits = (loaded.positions.base.index..=last.index).contains(&loaded.positions.applied);
    if last.term > term || !applied_fits {
        return Err(BadRow);
    }
    Ok(loaded)
}
