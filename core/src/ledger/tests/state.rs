//! A state to decide on: sets of numbers in rows, and a journal of what was applied.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use crate::config::{Boot, Limits, NodeConfig, Offer, Roster, Timing};
use crate::id::{BootNo, DcId, DiskId, NodeId, Role};
use crate::ledger::{BadRow, Changes, Entry, ProposalId, State};
use crate::swim::Addr;
use crate::time::Duration;

/// Adds a number.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Add(#[n(0)] pub u64);

/// Numbers in rows of a few.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    pub rows: BTreeMap<Vec<u8>, BTreeSet<u64>>,
    /// Volatile: what this process has applied and nobody has looked at.
    pub journal: Vec<(u64, ProposalId, u64)>,
}

impl Numbers {
    /// All numbers.
    pub fn all(&self) -> BTreeSet<u64> {
        self.rows.values().flatten().copied().collect()
    }
}

impl State for Numbers {
    type Command = Add;

    fn apply(&mut self, entry: &Entry<Add>, changes: &mut Changes) {
        let Add(number) = entry.command;
        let key = alloc::vec![(number % 97) as u8];
        let is_new = self.rows.entry(key.clone()).or_default().insert(number);
        assert!(is_new, "{number} is applied twice");
        self.journal.push((entry.index, entry.proposal, number));
        changes.rows.insert(key);
    }
    fn row(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.rows.get(key).map(|row| minicbor::to_vec(row).expect("encodes"))
    }
    fn keys(&self) -> Vec<Vec<u8>> {
        self.rows.keys().cloned().collect()
    }
    fn load_row(&mut self, key: &[u8], bytes: &[u8]) -> Result<(), BadRow> {
        let row = minicbor::decode(bytes).map_err(|_| BadRow)?;
        self.rows.insert(key.to_vec(), row);
        Ok(())
    }
    fn drop_row(&mut self, key: &[u8]) {
        self.rows.remove(key);
    }
}

/// The id of voter `n`.
pub fn voter(n: usize) -> NodeId {
    NodeId([n as u8 + 1; 16])
}

/// A boot of voter `n` with short waits and a short log.
pub fn boot(n: usize, boot: u32, seed: u64) -> Boot {
    let mut seeds = [0; 32];
    seeds[..8].copy_from_slice(&seed.to_le_bytes());
    seeds[8..12].copy_from_slice(&boot.to_le_bytes());
    seeds[12] = n as u8;
    let ms = Duration::from_millis;
    let timing = Timing {
        log_tick: ms(100),
        leader_silence: ms(500),
        lease_ttl: ms(1_000),
        lease_renew: ms(300),
        ..Timing::default()
    };
    let config = NodeConfig {
        cluster: String::from("test"),
        role: Role::Gate,
        dc: DcId::NONE,
        name: String::from("g"),
        node: voter(n),
        addr: Addr::default(),
        roster: Roster::default(),
        offer: Offer::default(),
        timing,
        limits: Limits { log_keep: 8, ..Limits::default() },
        allow_two_voters: false,
        minor: crate::wire::MINOR,
    };
    Boot { config, boot: BootNo(boot), disk: DiskId([n as u8; 16]), seed: seeds, rows: Vec::new() }
}
