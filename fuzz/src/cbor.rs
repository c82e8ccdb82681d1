//! CBOR as a fuzzer sees it: heads and leaves. It finds the numbers and ids in what nodes say, and puts others in
//! their place, so that what is said to a node is nearly right.

use crate::input::Input;

/// One leaf of an encoding, or the head of a list.
enum Item {
    Number(u64),
    Id([u8; 16]),
    Other,
}

/// The next item and its length in bytes; `None` where the bytes end or make no sense.
fn item(bytes: &[u8]) -> Option<(Item, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let (value, head) = match first & 0x1f {
        small @ 0..=23 => (u64::from(small), 1),
        long @ 24..=27 => {
            let size = 1usize << (long - 24);
            (rest.get(..size)?.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)), 1 + size)
        }
        _ => return None,
    };
    match first >> 5 {
        0 => Some((Item::Number(value), head)),
        2 | 3 => {
            let end = head.checked_add(usize::try_from(value).ok()?)?;
            let text = bytes.get(head..end)?;
            let id = text.try_into().ok().filter(|_| first >> 5 == 2);
            Some((id.map_or(Item::Other, Item::Id), end))
        }
        _ => Some((Item::Other, head)),
    }
}

/// Appends an unsigned number.
fn put_number(number: u64, out: &mut Vec<u8>) {
    let bytes = number.to_be_bytes();
    match number {
        0..=23 => out.push(number as u8),
        24..=0xff => out.extend([0x18, bytes[7]]),
        0x100..=0xffff => out.extend([&[0x19], &bytes[6..]].concat()),
        0x1_0000..=0xffff_ffff => out.extend([&[0x1a], &bytes[4..]].concat()),
        _ => out.extend([&[0x1b], &bytes[..]].concat()),
    }
}

/// What has been said: numbers and ids to say again.
pub struct Known {
    numbers: Vec<u64>,
    /// Ids of nodes; fixed.
    nodes: Vec<[u8; 16]>,
    /// Everything else with sixteen bytes: jobs, disks.
    others: Vec<[u8; 16]>,
    next: usize,
}

impl Known {
    /// Most numbers, and most ids, that are remembered; the oldest go.
    const MAX: usize = 64;

    /// Knows these nodes.
    pub fn new(nodes: Vec<[u8; 16]>) -> Self {
        Self { numbers: vec![1], nodes, others: Vec::new(), next: 0 }
    }

    /// Remembers the numbers and ids of an encoding.
    pub fn learn(&mut self, mut bytes: &[u8]) {
        while let Some((item, len)) = item(bytes) {
            match item {
                Item::Number(number) if !self.numbers.contains(&number) => {
                    Self::put(&mut self.numbers, number, &mut self.next);
                }
                Item::Id(id) if !self.nodes.contains(&id) && !self.others.contains(&id) => {
                    Self::put(&mut self.others, id, &mut self.next);
                }
                _ => {}
            }
            bytes = &bytes[len..];
        }
    }

    fn put<T>(places: &mut Vec<T>, one: T, next: &mut usize) {
        if places.len() < Self::MAX {
            places.push(one);
        } else {
            *next = (*next + 1) % Self::MAX;
            places[*next] = one;
        }
    }

    /// An id that has been seen and is no node's.
    pub fn other(&self, input: &mut Input<'_>) -> Option<[u8; 16]> {
        self.others.get(input.below(self.others.len())).copied()
    }

    fn number(&self, old: u64, input: &mut Input<'_>) -> u64 {
        match input.below(10) {
            0 => 0,
            1 => u64::MAX,
            2 => old.wrapping_add(1),
            3 => old.wrapping_sub(1),
            4 => u64::from(u32::MAX),
            5 => input.u64(),
            _ => self.numbers[input.below(self.numbers.len())],
        }
    }

    /// The encoding with some of its leaves replaced. The ids of samples, which nobody has, are always replaced; with
    /// `bold`, also a number or an id here and there.
    pub fn vary(&self, mut bytes: &[u8], bold: bool, input: &mut Input<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        while let Some((item, len)) = item(bytes) {
            match item {
                Item::Number(number) if bold && input.byte() & 7 == 7 => {
                    put_number(self.number(number, input), &mut out);
                }
                Item::Id(id) => {
                    let sample = id.iter().all(|byte| *byte == id[0]);
                    let replaced = sample || (bold && input.byte() & 7 == 7);
                    let job = if sample { id[0] == 0x11 } else { !self.nodes.contains(&id) };
                    let pool = if job { &self.others } else { &self.nodes };
                    let new = if replaced { *pool.get(input.below(pool.len())).unwrap_or(&id) } else { id };
                    out.push(0x50);
                    out.extend(new);
                }
                _ => out.extend(&bytes[..len]),
            }
            bytes = &bytes[len..];
        }
        out.extend(bytes);
        out
    }
}
