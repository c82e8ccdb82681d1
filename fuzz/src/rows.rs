//! Rows on disk: what a node wrote, damaged. It begins, or it says that the rows cannot be used.

use tidegate_core::bytes::Bytes;
use tidegate_core::config::Boot;
use tidegate_core::id::{BootNo, DiskId};
use tidegate_core::node::Node;

use crate::cbor::Known;
use crate::input::Input;
use crate::steps;

/// The target.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let disks = steps::disks();
    let (config, rows) = &disks[input.below(disks.len())];
    let mut rows = rows.clone();
    let mut known = Known::new(vec![config.node.0]);
    rows.iter().for_each(|(_, value)| known.learn(value));
    while !input.is_empty() {
        damage(&mut rows, &known, &mut input);
    }
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    rows.dedup_by(|(a, _), (b, _)| a == b);
    let (disk, seed) = (DiskId(config.node.0), [7; 32]);
    let _ = Node::new(Boot { config: config.clone(), boot: BootNo(9), disk, seed, rows });
}

fn damage(rows: &mut Vec<(Bytes, Bytes)>, known: &Known, input: &mut Input<'_>) {
    let at = input.below(rows.len());
    if at >= rows.len() {
        return rows.push((Bytes(vec![input.byte()]), Bytes(input.take(32).to_vec())));
    }
    match input.below(6) {
        0 => drop(rows.remove(at)),
        1 => rows[at].1 = Bytes(input.take(32).to_vec()),
        2 => {
            let len = rows[at].1.0.len();
            let place = input.below(len);
            rows[at].1.0.truncate(place);
        }
        3 => {
            let place = input.below(rows[at].0.0.len());
            if let Some(byte) = rows[at].0.0.get_mut(place) {
                *byte ^= input.byte();
            }
        }
        4 => {
            let (format, body) = rows[at].1.0.split_at(rows[at].1.0.len().min(1));
            let body = known.vary(body, true, input);
            rows[at].1 = Bytes([format, &body].concat());
        }
        _ => {
            let value = known.vary(&rows[at].1.0, true, input);
            rows[at].1 = Bytes(value);
        }
    }
}
