//! Cost of a confirmation with 100,000 live suspicions: 1,000 jobs of 100 suspected nodes each, one core. Measured in small
//! batches, of which the middle one counts: a machine that does something else as well disturbs a few of them only.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant as Clock;

use tidegate_core::id::{JobId, NodeId};
use tidegate_core::rng::NodeRng;
use tidegate_core::suspicion::{Accused, JobSuspicions, Window};
use tidegate_core::time::{Duration, Instant};

const JOBS: u64 = 1_000;
const NODES: u64 = 100;
/// Confirmations that count, of each suspicion.
const ROUNDS: u64 = 3;
/// Confirmations of a batch.
const BATCH: usize = 500;

fn id(number: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id
}

fn main() {
    let mut jobs: BTreeMap<JobId, JobSuspicions> = BTreeMap::new();
    let window = Window::new(Duration::from_secs(5), Duration::from_secs(30), 9);
    let mut pairs = Vec::new();
    for job in 0..JOBS {
        let record = jobs.entry(JobId(id(job))).or_default();
        for node in 0..NODES {
            let opened = Instant::from_nanos(job * 1_000_003 + node * 10_007);
            let accused = record.accuse(opened, window, NodeId(id(node)), NodeId([0xff; 16]));
            assert_eq!(accused, Ok(Accused::Opened));
            pairs.push((JobId(id(job)), NodeId(id(node))));
        }
    }
    let now = Instant::from_nanos(2_000_000_000);
    let mut rng = NodeRng::new([1; 32], 0);
    println!("{:>10} {:>14} {:>12} {:>12}", "round", "confirmations", "median ns", "least ns");
    for round in 0..ROUNDS {
        rng.shuffle(&mut pairs);
        let by = NodeId([round as u8 + 1; 16]);
        let mut batches: Vec<u128> = pairs
            .chunks(BATCH)
            .map(|batch| {
                let begin = Clock::now();
                for (job, node) in batch {
                    let record = jobs.get_mut(job).expect("it is there");
                    assert_eq!(black_box(record.accuse(now, window, *node, by)), Ok(Accused::Confirmed));
                }
                begin.elapsed().as_nanos() / batch.len() as u128
            })
            .collect();
        batches.sort_unstable();
        let (middle, least) = (batches[batches.len() / 2], batches[0]);
        println!("{:>10} {:>14} {middle:>12} {least:>12}", round + 1, pairs.len());
    }
    let open: u64 = jobs.values().map(|record| record.tally().1).sum();
    assert_eq!(open, JOBS * NODES, "all are still live");
}
