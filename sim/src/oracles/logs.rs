//! The logs of a tier's voters have one prefix: a committed entry is the same on every disk, for ever.
//!
//! - What a leader says is committed is the entry that its disk has there. No leader says another at the same place.
//! - Two logs with an entry of the same term at the same place are equal up to there.
//! - A committed entry that a voter has confirmed is not replaced on its disk.
//!
//! All else that tiers decide is a fold over their log: where two logs differ, two truths are being built.

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use minicbor::Decoder;
use tidegate_core::digest::Digest;
use tidegate_core::id::{DcId, Term};
use tidegate_core::ledger::LogBody;
use tidegate_core::store::{Write, table};
use tidegate_core::wire::Message;

use crate::world::{Fact, HostIx, Interest, Scene, Spectator};

/// An entry: its term, and a digest of its row.
type Entry = (u64, u64);

#[derive(Default)]
struct Log {
    entries: BTreeMap<u64, Entry>,
    /// Up to here it was compared with what is committed.
    compared: u64,
    /// An image was put back, and its rows are not known here.
    unknown: bool,
}

/// See the module.
#[derive(Default)]
pub(super) struct Logs {
    tested: u64,
    disks: BTreeMap<HostIx, Log>,
    committed: BTreeMap<DcId, BTreeMap<u64, Entry>>,
}

fn entry_of(write: &Write) -> Option<(u64, Option<Entry>)> {
    let [table::LOG, index @ ..] = &write.key[..] else { return None };
    let index = u64::from_be_bytes(index.try_into().ok()?);
    let Some(row) = &write.value else { return Some((index, None)) };
    let mut decoder = Decoder::new(row);
    decoder.array().ok()?;
    let term: Term = decoder.decode().ok()?;
    let mut digest = Digest::default();
    digest.write(row);
    Some((index, Some((term.0, digest.finish()))))
}

impl Logs {
    fn written(&mut self, scene: &Scene, host: HostIx, write: &Write) -> Result<(), String> {
        let Some((index, entry)) = entry_of(write) else { return Ok(()) };
        let log = self.disks.entry(host).or_default();
        let before = match entry {
            Some(entry) => log.entries.insert(index, entry),
            // The log is cut at its head, or at its end.
            None => log.entries.remove(&index),
        };
        if entry.is_some() && index <= log.compared && before.is_some() && before != entry {
            return Err(format!("{} replaces entry {index}, which is committed", scene.name(host)));
        }
        Ok(())
    }

    /// The log of a host against what is committed, as far as both know it.
    fn compare(&mut self, scene: &Scene, host: HostIx, up_to: u64, leads: bool) -> Result<(), String> {
        let log = self.disks.entry(host).or_default();
        let Some(committed) = self.committed.get(&scene.hosts[host].dc) else { return Ok(()) };
        let last = committed.range(..=up_to).rev().find(|(index, _)| log.entries.contains_key(index));
        let Some((&last, (term, _))) = last.filter(|_| !log.unknown) else { return Ok(()) };
        if !leads && log.entries[&last].0 != *term {
            // What it has there was never committed, and will be replaced.
            return Ok(());
        }
        for (index, entry) in log.entries.range(log.compared + 1..=last.max(log.compared + 1)) {
            if *index <= last && committed.get(index).is_some_and(|known| known != entry) {
                return Err(format!(
                    "at index {index} the log of {} has another entry than the one that is committed",
                    scene.name(host)
                ));
            }
        }
        self.tested += u64::from(last > log.compared);
        log.compared = log.compared.max(last);
        Ok(())
    }

    fn commits(&mut self, scene: &Scene, host: HostIx, commit: u64) -> Result<(), String> {
        let log = self.disks.entry(host).or_default();
        let committed = self.committed.entry(scene.hosts[host].dc).or_default();
        let known = committed.last_key_value().map_or(0, |(index, _)| *index);
        if log.unknown {
            return Ok(());
        }
        if commit > known {
            committed.extend(log.entries.range(known + 1..=commit).map(|(index, entry)| (*index, *entry)));
        }
        self.compare(scene, host, commit, true)
    }
}

impl Spectator for Logs {
    fn name(&self) -> &'static str {
        "logs have one prefix"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::DEPARTURES.and(Interest::WRITES).and(Interest::FAULTS)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Left { from, message: Message::Log(log), .. } => match log.body {
                LogBody::Append { commit, .. } => self.commits(scene, *from, commit),
                LogBody::AppendReply { last, .. } => self.compare(scene, *from, last.index, false),
                _ => Ok(()),
            },
            Fact::Durable { host, writes } => {
                writes.iter().try_for_each(|write| self.written(scene, *host, write))
            }
            Fact::Fault { kind: "disk_wipe", host, .. } => {
                self.disks.remove(host);
                Ok(())
            }
            Fact::Fault { kind: "disk_restore", host, .. } => {
                self.disks.entry(*host).or_default().unknown = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
