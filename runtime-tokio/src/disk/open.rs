//! Opening a node's file: format, identity, boot number, rows.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, ReadableTable, StorageError, WriteTransaction};
use tidegate_core::bytes::Bytes;
use tidegate_core::id::{BootNo, DiskId, NodeId};
use tidegate_core::store::{RowKey, table};

use super::ROWS;

/// Format number of the rows. A file with a higher one is refused; a change of the rows' meaning raises it.
pub const FORMAT: u32 = 1;

/// The file's name in the data directory.
const FILE_NAME: &str = "node.redb";

/// Page cache: a node at rest stays small, and its rows are in its own memory anyway.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

const FORMAT_KEY: &[u8] = &[table::META, b'f'];
const DISK_KEY: &[u8] = &[table::META, b'd'];
const NODE_KEY: &[u8] = &[table::META, b'n'];
const BOOT_KEY: &[u8] = &[table::META, b'b'];
const SESSION_KEY: &[u8] = &[table::META, b's'];

/// An open file, ready for its writer.
#[derive(Debug)]
pub struct Disk {
    pub(super) db: Database,
    pub(super) path: PathBuf,
}

/// What a node boots from.
#[derive(Debug)]
pub struct Opened {
    /// The file.
    pub disk: Disk,
    /// Its identity: random, made with the file.
    pub id: DiskId,
    /// The number of this start; durable already.
    pub boot: BootNo,
    /// A number that grows with every start, even over a lost disk: at least the wall clock in milliseconds, and more
    /// than at the start before. Names the life in which datagrams are sealed.
    pub session: u64,
    /// Every row but the driver's own, in key order.
    pub rows: Vec<(RowKey, Bytes)>,
}

impl Disk {
    /// Opens, or makes, the file of `node` in `dir`, and makes this start durable.
    pub fn open(dir: &Path, node: NodeId) -> Result<Opened, DiskError> {
        let path = dir.join(FILE_NAME);
        let fail = |what| DiskError { path: path.clone(), what };
        std::fs::create_dir_all(dir).map_err(|error| fail(Problem::Io(error)))?;
        let db = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create(&path)
            .map_err(|error| fail(Problem::from_database(error)))?;
        // The file's name is durable only when its directory is.
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| fail(Problem::Io(error)))?;
        let wall_ms = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        let (id, boot, session, rows) = begin_life(&db, node, wall_ms).map_err(fail)?;
        Ok(Opened { disk: Self { db, path }, id, boot, session, rows })
    }
}

pub(super) type Life = (DiskId, BootNo, u64, Vec<(RowKey, Bytes)>);

/// Checks the driver's own rows, counts this start and reads the node's rows, in one durable transaction.
pub(super) fn begin_life(db: &Database, node: NodeId, wall_ms: u64) -> Result<Life, Problem> {
    let transaction = db.begin_write().map_err(Problem::other)?;
    let life = {
        let mut rows = transaction.open_table(ROWS).map_err(Problem::other)?;
        let meta = |key: &[u8]| -> Result<Option<Vec<u8>>, Problem> {
            Ok(rows.get(key).map_err(Problem::from_storage)?.map(|row| row.value().to_vec()))
        };
        let fresh = meta(FORMAT_KEY)?.is_none();
        let (id, boot, session) = if fresh {
            let mut id = [0; 16];
            getrandom::fill(&mut id).map_err(|error| Problem::Other(error.to_string()))?;
            (DiskId(id), BootNo(1), wall_ms)
        } else {
            let format = u32::from_be_bytes(fixed(meta(FORMAT_KEY)?, "format")?);
            if format > FORMAT {
                return Err(Problem::Newer(format));
            }
            let owner = NodeId(fixed(meta(NODE_KEY)?, "node")?);
            if owner != node {
                return Err(Problem::OtherNode { owner, node });
            }
            let boot = u32::from_be_bytes(fixed(meta(BOOT_KEY)?, "boot number")?);
            let session = u64::from_be_bytes(fixed(meta(SESSION_KEY)?, "session")?);
            let boot =
                boot.checked_add(1).ok_or_else(|| Problem::Corrupt("boot numbers are used up".into()))?;
            (DiskId(fixed(meta(DISK_KEY)?, "disk id")?), BootNo(boot), wall_ms.max(session.saturating_add(1)))
        };
        let mut put =
            |key: &[u8], value: &[u8]| rows.insert(key, value).map(drop).map_err(Problem::from_storage);
        put(FORMAT_KEY, &FORMAT.to_be_bytes())?;
        put(NODE_KEY, &node.0)?;
        put(DISK_KEY, &id.0)?;
        put(BOOT_KEY, &boot.0.to_be_bytes())?;
        put(SESSION_KEY, &session.to_be_bytes())?;
        (id, boot, session, node_rows(&rows)?)
    };
    commit(transaction)?;
    Ok(life)
}

/// Every row that is not the driver's.
fn node_rows(
    rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
) -> Result<Vec<(RowKey, Bytes)>, Problem> {
    let first: &[u8] = &[table::META + 1];
    rows.range(first..)
        .map_err(Problem::from_storage)?
        .map(|row| {
            let (key, value) = row.map_err(Problem::from_storage)?;
            Ok((Bytes(key.value().to_vec()), Bytes(value.value().to_vec())))
        })
        .collect()
}

fn commit(transaction: WriteTransaction) -> Result<(), Problem> {
    transaction.commit().map_err(Problem::other)
}

/// A driver's row of fixed length.
fn fixed<const N: usize>(row: Option<Vec<u8>>, name: &str) -> Result<[u8; N], Problem> {
    row.and_then(|row| row.try_into().ok())
        .ok_or_else(|| Problem::Corrupt(format!("the {name} is missing or has the wrong length")))
}

/// Why a file cannot be used. Its text tells the operator what to do.
#[derive(Debug)]
pub struct DiskError {
    path: PathBuf,
    what: Problem,
}

/// The kinds of trouble with a file.
#[derive(Debug)]
pub(super) enum Problem {
    InUse,
    Newer(u32),
    OtherNode { owner: NodeId, node: NodeId },
    Corrupt(String),
    Io(io::Error),
    Other(String),
}

impl Problem {
    pub(super) fn other(error: impl Into<redb::Error>) -> Self {
        match error.into() {
            redb::Error::Corrupted(why) => Self::Corrupt(why),
            redb::Error::Io(error) => Self::Io(error),
            error => Self::Other(error.to_string()),
        }
    }

    pub(super) fn from_storage(error: StorageError) -> Self {
        Self::other(redb::Error::from(error))
    }

    fn from_database(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse,
            DatabaseError::Storage(StorageError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Self::Corrupt(error.to_string())
            }
            error => Self::other(redb::Error::from(error)),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => {
                f.write_str("another process has it open; a data directory serves one node at a time")
            }
            Self::Newer(format) => write!(
                f,
                "its rows have format {format}, this program knows up to {FORMAT}; start the newer version that wrote it"
            ),
            Self::OtherNode { owner, node } => write!(
                f,
                "it belongs to node {owner}, this is {node}; cluster, role, datacenter and name make the id: give each \
                 node a data directory of its own"
            ),
            Self::Corrupt(why) => write!(
                f,
                "it is damaged ({why}); move the data directory away and let the node start empty, unless it is the \
                 only voter of its tier"
            ),
            Self::Io(error) if error.kind() == io::ErrorKind::StorageFull => {
                write!(f, "the disk is full ({error})")
            }
            Self::Io(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                write!(f, "the file system is read-only ({error})")
            }
            Self::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "no permission to write it ({error})")
            }
            Self::Io(error) => error.fmt(f),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use {}: {}", self.path.display(), self.what)
    }
}

impl std::error::Error for DiskError {}
