//! What is stored stays, what cannot be used is refused with a clear text, and a failing disk says so.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redb::{Builder, StorageBackend};
use tidegate_core::Event;
use tidegate_core::bytes::Bytes;
use tidegate_core::id::NodeId;
use tidegate_core::store::{StoreToken, Write, table};

use super::open::begin_life;
use super::*;
use crate::driver::{Inbox, Metrics, NodeClock};

const NODE: NodeId = NodeId([1; 16]);

fn put(key: u8, value: &[u8]) -> Write {
    Write { key: Bytes(vec![table::LOG, key]), value: Some(Bytes(value.to_vec())) }
}

/// What the writer tells, until it has told everything up to `last` or has failed.
fn news(inbox: &Inbox, last: StoreToken) -> Vec<Event> {
    let mut heard = Vec::new();
    loop {
        for event in inbox.take_events(Duration::from_secs(60)) {
            let over = matches!(&event, Event::Stored { token } if *token == last)
                || matches!(event, Event::StoreFailed { .. });
            heard.push(event);
            if over {
                return heard;
            }
        }
    }
}

fn write_all(disk: Disk, batches: Vec<Vec<Write>>) -> Vec<Event> {
    let (sender, inbox) = Inbox::new(NodeClock::start());
    let (writer, queue) = Writer::start(disk, sender, Metrics::default()).unwrap();
    let last = StoreToken(batches.len() as u64);
    for (token, writes) in (1..).zip(batches) {
        queue.store(StoreToken(token), writes);
    }
    let heard = news(&inbox, last);
    drop(queue);
    writer.join();
    heard
}

#[test]
fn batches_are_stored_in_order_and_found_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let first = Disk::open(dir.path(), NODE).unwrap();
    assert!(first.rows.is_empty());
    assert_eq!(first.boot.0, 1);
    let delete = Write { key: Bytes(vec![table::LOG, 1]), value: None };
    let batches = vec![vec![put(1, b"a"), put(2, b"b")], vec![put(2, b"c")], vec![put(3, b"d"), delete]];
    let heard = write_all(first.disk, batches);
    let tokens: Vec<_> = heard
        .iter()
        .map(|event| match event {
            Event::Stored { token } => token.0,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(tokens.is_sorted() && tokens.last() == Some(&3), "{tokens:?}");

    let second = Disk::open(dir.path(), NODE).unwrap();
    let row = |key: u8, value: &[u8]| (Bytes(vec![table::LOG, key]), Bytes(value.to_vec()));
    assert_eq!(second.rows, [row(2, b"c"), row(3, b"d")]);
    assert_eq!((second.id, second.boot.0), (first.id, 2));
    assert!(second.session > first.session);
}

fn refusal(dir: &Path, node: NodeId) -> String {
    Disk::open(dir, node).expect_err("it must be refused").to_string()
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let opened = Disk::open(dir.path(), NODE).unwrap();
    assert!(refusal(dir.path(), NODE).contains("another process has it open"));
    drop(opened);
    assert!(Disk::open(dir.path(), NODE).is_ok());
}

#[test]
fn the_folder_of_another_node_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(Disk::open(dir.path(), NODE).unwrap());
    assert!(refusal(dir.path(), NodeId([2; 16])).contains("belongs to node 0101"));
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    drop(Disk::open(dir.path(), NODE).unwrap());
    let path = dir.path().join("node.redb");
    let set_format = |format: u32| {
        let db = Builder::new().open(&path).unwrap();
        let transaction = db.begin_write().unwrap();
        transaction
            .open_table(ROWS)
            .unwrap()
            .insert(&[table::META, b'f'][..], &format.to_be_bytes()[..])
            .unwrap();
        transaction.commit().unwrap();
    };
    set_format(FORMAT + 1);
    let why = refusal(dir.path(), NODE);
    assert!(why.contains("format 2") && why.contains("start the newer version"), "{why}");
    set_format(FORMAT);
    assert_eq!(Disk::open(dir.path(), NODE).unwrap().boot.0, 2, "the refused start was not counted");
}

#[test]
fn damage_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("node.redb"), vec![0x5a; 100_000]).unwrap();
    let why = refusal(dir.path(), NODE);
    assert!(why.contains("it is damaged"), "{why}");
}

#[test]
fn a_folder_that_cannot_be_made_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let why = refusal(&file.join("data"), NODE);
    assert!(why.contains("Not a directory"), "{why}");
}

/// A disk in memory with so much room.
#[derive(Debug)]
struct SmallDisk {
    memory: redb::backends::InMemoryBackend,
    room: Arc<AtomicU64>,
}

impl StorageBackend for SmallDisk {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.memory.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.memory.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.memory.set_len(len)
    }
    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.memory.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        if self.room.load(Ordering::Relaxed) < offset + data.len() as u64 {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.memory.write(offset, data)
    }
}

#[test]
fn a_full_disk_fails_the_first_batch_that_does_not_fit_and_nothing_is_stored_after_it() {
    let room = Arc::new(AtomicU64::new(u64::MAX));
    let backend = SmallDisk { memory: redb::backends::InMemoryBackend::new(), room: Arc::clone(&room) };
    let db = Builder::new().create_with_backend(backend).unwrap();
    begin_life(&db, NODE, 1).unwrap();
    let disk = Disk { db, path: "small/node.redb".into() };

    let (sender, inbox) = Inbox::new(NodeClock::start());
    let (writer, queue) = Writer::start(disk, sender, Metrics::default()).unwrap();
    queue.store(StoreToken(1), vec![put(1, b"fits")]);
    assert_eq!(news(&inbox, StoreToken(1)), [Event::Stored { token: StoreToken(1) }]);
    room.store(0, Ordering::Relaxed);
    queue.store(StoreToken(2), vec![put(2, &[0; 100_000])]);
    let heard = news(&inbox, StoreToken(2));
    let [Event::StoreFailed { token: StoreToken(2), why }] = &heard[..] else { panic!("{heard:?}") };
    assert!(why.contains("small/node.redb") && why.contains("the disk is full"), "{why}");
    room.store(u64::MAX, Ordering::Relaxed);
    queue.store(StoreToken(3), vec![put(3, b"too late")]);
    drop(queue);
    writer.join();
    assert!(inbox.take_events(Duration::ZERO).is_empty(), "a failure is final");
}

/// Names the folder that [`child_writes_until_it_is_killed`] writes to.
const CHILD: &str = "TIDEGATE_TEST_WRITER";

fn numbered(n: u64) -> Write {
    let value = n.to_be_bytes().repeat(100 + (n % 37) as usize);
    Write { key: Bytes([&[table::LOG], &n.to_be_bytes()[..]].concat()), value: Some(Bytes(value)) }
}

#[test]
#[ignore = "the killed process of the next test"]
fn child_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let opened = Disk::open(Path::new(&dir), NODE).unwrap();
    let begun = opened.rows.len() as u64;
    let (sender, inbox) = Inbox::new(NodeClock::start());
    let (_writer, queue) = Writer::start(opened.disk, sender, Metrics::default()).unwrap();
    let mut next = 0;
    loop {
        for _ in 0..4 {
            next += 1;
            queue.store(StoreToken(next), vec![numbered(begun + next)]);
        }
        for event in inbox.take_events(Duration::from_secs(60)) {
            let Event::Stored { token } = event else { panic!("{event:?}") };
            println!("stored {}", begun + token.0);
        }
    }
}

#[test]
fn a_killed_process_has_lost_nothing_that_was_reported_stored() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=5u32 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "disk::tests::child_writes_until_it_is_killed", "--ignored", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut reported = 0;
        let mut lines = 0;
        // Killed after another number of reports each round; what was still in the pipe counts as well.
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            if let Some(stored) = line.unwrap().strip_prefix("stored ") {
                reported = stored.parse().unwrap();
                lines += 1;
                if lines == 20 + 13 * round {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        assert!(reported > 0);
        let opened = Disk::open(dir.path(), NODE).unwrap();
        assert_eq!(opened.boot.0, 2 * round, "one start of the child and one of this test in each round");
        assert!(opened.rows.len() as u64 >= reported, "{} rows of {reported} reported", opened.rows.len());
        for (n, row) in (1..).zip(&opened.rows) {
            let expected = numbered(n);
            assert_eq!(
                (&row.0, Some(&row.1)),
                (&expected.key, expected.value.as_ref()),
                "row {n} of round {round}"
            );
        }
    }
}
