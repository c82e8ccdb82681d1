//! Whatever a voter says, the others do not panic, and what they have applied stays.

use alloc::vec::Vec;

use super::state::{Add, voter};
use super::world::{MS, World};
use crate::bytes::Bytes;
use crate::effect::Effects;
use crate::id::{BootNo, DiskId, Term};
use crate::ledger::proposals::{Command, Proposal};
use crate::ledger::{
    Checkpoint, ImageEnd, ImageRow, LogBody, LogMessage, LogPos, LogRecord, ProposalId, rows,
};
use crate::rng::NodeRng;

/// Numbers near what the receiver has, and at the ends of what there is.
fn number(rng: &mut NodeRng, near: u64) -> u64 {
    match rng.below(8) {
        0 => 0,
        1 => u64::MAX,
        2 => u64::MAX - 1,
        3 => 1 << 62,
        4 => near,
        5 => near.saturating_add(1 + rng.below(3)),
        _ => near.saturating_add(2).saturating_sub(rng.below(30)),
    }
}

fn pos(rng: &mut NodeRng, near: LogPos) -> LogPos {
    LogPos { term: Term(number(rng, near.term.0)), index: number(rng, near.index) }
}

fn payload(rng: &mut NodeRng) -> Bytes {
    let id = ProposalId { node: voter(rng.below(4) as usize), boot: BootNo(1), n: number(rng, 5) };
    // Numbers that the workload never reaches, so that no number is added twice.
    let command = match rng.below(3) {
        0 => Command::Tier(Add(1_000_000 + rng.u64() / 2)),
        1 => Command::LeaseEnded { node: voter(0), boot: BootNo(1), renew_no: rng.below(9) },
        _ => return Bytes((0..rng.below(20)).map(|_| rng.u64() as u8).collect()),
    };
    Bytes(rows::encode(&Proposal { id, command }))
}

fn entries(rng: &mut NodeRng, term: Term) -> Vec<LogRecord> {
    let entry = |rng: &mut NodeRng| LogRecord {
        term: Term(number(rng, term.0)),
        payload: (!rng.one_in(4)).then(|| payload(rng)),
    };
    (0..rng.below(4)).map(|_| entry(rng)).collect()
}

fn image(rng: &mut NodeRng, last: LogPos) -> LogBody {
    let row = |rng: &mut NodeRng| ImageRow {
        key: Bytes((0..rng.below(4)).map(|_| rng.below(4) as u8).collect()),
        value: (!rng.one_in(3)).then(|| payload(rng)),
    };
    LogBody::Image {
        term: Term(number(rng, last.term.0)),
        transfer: rng.below(2),
        part: rng.below(3),
        rows: (0..rng.below(3)).map(|_| row(rng)).collect(),
        end: rng.one_in(2).then(|| ImageEnd { at: pos(rng, last), digest: rng.u64() }),
    }
}

fn body(rng: &mut NodeRng, last: LogPos) -> LogBody {
    let term = Term(number(rng, last.term.0));
    match rng.below(12) {
        0 => LogBody::Vote { term, last: pos(rng, last) },
        1 => LogBody::VoteReply { term, granted: rng.one_in(2) },
        2..=4 => LogBody::Append {
            term,
            commit: number(rng, last.index),
            prev: pos(rng, last),
            entries: entries(rng, term),
            checkpoint: rng
                .one_in(2)
                .then(|| Checkpoint { index: number(rng, last.index), digest: rng.u64() }),
        },
        5 => LogBody::AppendReply { term, last: pos(rng, last) },
        6 => LogBody::PreVote { term, last: pos(rng, last) },
        7 => LogBody::PreVoteReply { asked: term, term: Term(number(rng, last.term.0)), granted: true },
        8 => LogBody::Propose { proposals: (0..rng.below(3)).map(|_| payload(rng)).collect() },
        9 => image(rng, last),
        10 => LogBody::ImageAck { term, transfer: rng.below(3), part: rng.below(3), next: rng.below(4) },
        _ => LogBody::HandOver { term },
    }
}

#[test]
fn no_message_makes_a_voter_panic_or_forget() {
    for seed in 0..40 {
        let mut world = World::calm(seed, 3);
        world.run(2_500 * MS);
        let mut rng = NodeRng::new([seed as u8; 32], 99);
        for victim in 0..3 {
            // The puppet speaks alone from here on.
            let process = world.machines[victim].process.as_mut().expect("it runs");
            let kept = process.ledger.state().all();
            for round in 0..2_000 {
                let now = process.clock(2_500 * MS + round * MS);
                let mut out = Effects::new();
                let from = voter(rng.below(4) as usize);
                let message = LogMessage {
                    boot: BootNo(1 + rng.below(2) as u32),
                    disk: DiskId([from.0[0] - 1; 16]),
                    body: body(&mut rng, process.ledger.last()),
                };
                process.ledger.receive(now, from, message, &mut process.store, &mut out);
                process.ledger.wake(now, &mut process.store, &mut out);
                let applied = process.ledger.settle(&mut process.store, &mut out);
                process.store.flush(&mut out);
                let token = process.store.barrier();
                process.store.stored(token, &mut out);
                process.ledger.stored(now, &mut process.store, &mut out);
                if applied.halt.is_some() {
                    break;
                }
            }
            assert!(process.ledger.state().all().is_superset(&kept), "seed {seed}");
        }
    }
}
