//! A gate, managers and a worker, driven by bytes: any event at any time, messages late, lost, repeated, reordered and
//! changed, writes that end late, tokens that nobody issued, processes that begin again from what was durable.
//!
//! Checked after every step: it did not panic; what a node sends may be sent and survives the wire; calls get one
//! answer; a stream pushes only while it is open; an execution starts once; what is dropped is mentioned nowhere; rows
//! that were written can be read again; `wake_at` lies ahead; equal nodes make equal steps.

mod seat;
mod world;

use std::sync::LazyLock;

use tidegate_core::bytes::Bytes;
use tidegate_core::config::NodeConfig;

use crate::input::Input;
use world::World;

/// Most choices of one input: no bound of a node that guards against a broken driver is reached.
const OPS_MAX: usize = 3_000;

/// The target.
pub fn run(bytes: &[u8]) {
    play(bytes);
}

/// How often a node saw a job end in the history of these bytes.
#[allow(dead_code)] // Tests ask whether the seeds come so far.
pub fn ends(bytes: &[u8]) -> usize {
    play(bytes).into_seats().iter().map(|seat| seat.ended).sum()
}

fn play(bytes: &[u8]) -> World {
    let mut input = Input::new(bytes);
    let mut world = World::new(&mut input);
    for _ in 0..OPS_MAX {
        if input.is_empty() {
            break;
        }
        world.act(&mut input);
    }
    world
}

/// Inputs that bring a job through the cluster, at several paces: seeds for a fuzzer.
pub fn seeds() -> Vec<Vec<u8>> {
    let calm: &[u8] = &[world::PUMP, 40];
    let mut seeds = Vec::new();
    for shape in 0..4u8 {
        let mut bytes = vec![shape];
        bytes.extend(calm.repeat(15));
        bytes.extend(world::SUBMIT);
        bytes.extend(calm.repeat(8));
        for odd in 0..world::OPS {
            bytes.extend([odd, 3, 5, 7, 11]);
            bytes.extend(calm);
        }
        bytes.extend(calm.repeat(12));
        seeds.push(bytes);
    }
    seeds
}

/// The rows of a node, with its configuration.
pub type Disk = (NodeConfig, Vec<(Bytes, Bytes)>);

/// The disks of a cluster that has run a job.
pub fn disks() -> &'static [Disk] {
    static DISKS: LazyLock<Vec<Disk>> = LazyLock::new(|| {
        let mut bytes = vec![0, world::PUMP, 60, world::PUMP, 60, world::PUMP, 60, world::PUMP, 60];
        bytes.extend(world::SUBMIT.repeat(3));
        bytes.extend([world::PUMP, 4]);
        let world = play(&bytes);
        let rows = |seat: &seat::Seat| seat.rows().map(|(key, value)| (key.clone(), value.clone())).collect();
        world.into_seats().iter().map(|seat| (seat.config.clone(), rows(seat))).collect()
    });
    &DISKS
}
