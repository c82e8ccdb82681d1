//! A node's durable rows: one redb file, one writer thread.
//!
//! In: the batches of `Effect::Store`, in order. Out: `Event::Stored`, which may cover many batches, or one
//! `Event::StoreFailed`, after which nothing more is written. Opening the file gives everything a node boots from: its
//! rows, the identity of the disk and the number of this start. Never retries a write and never drops one.

mod open;
#[cfg(test)]
mod tests;
mod writer;

pub use open::{Disk, DiskError, FORMAT, Opened};
pub use writer::{MAX_OUTSTANDING_BYTES, StoreQueue, Writer};

use redb::TableDefinition;

/// The one table: row key (table byte first) to row.
const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
