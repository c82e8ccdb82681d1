//! A recording replays to the same effects, and a changed one is caught.

use super::*;
use tidegate_core::Instant;
use tidegate_core::id::{BootNo, DcId, DiskId, NodeId, Role};

use crate::config::single_node;

fn boot_of_a_gate() -> Boot {
    Boot {
        config: single_node("c", Role::Gate, DcId::NONE, "g1"),
        boot: BootNo(1),
        disk: DiskId([4; 16]),
        seed: [5; 32],
        rows: Vec::new(),
    }
}

fn life(path: &Path) -> Node {
    let boot = boot_of_a_gate();
    let mut recorder = Recorder::create(path, &boot).unwrap();
    let mut node = Node::new(boot).unwrap();
    let mut events = vec![Event::Start];
    for step in 0..200 {
        let mono = Instant::from_nanos(step * 100_000_000);
        let now = Now { mono, ..Now::default() };
        let event = events.pop().unwrap_or(Event::Wake);
        recorder.event(now, &event);
        let effects = node.step(now, event);
        recorder.effects(&effects);
        for effect in effects {
            if let Effect::Store { token, .. } = effect {
                events.push(Event::Stored { token });
            }
        }
    }
    node
}

#[test]
fn a_recorded_life_replays_to_the_same_effects() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("life");
    life(&path);
    let mut seen = 0;
    let replayed = replay(&path, |_, _, _| seen += 1).unwrap();
    assert_eq!((replayed.steps, seen), (200, 200));
    assert_eq!(replay(&path, |_, _, _| {}).unwrap(), replayed);
}

#[test]
fn a_life_is_in_its_file_up_to_its_last_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("life");
    let boot = boot_of_a_gate();
    let mut recorder = Recorder::create(&path, &boot).unwrap();
    let mut node = Node::new(boot).unwrap();
    for step in 0..3 {
        let (now, event) = (Now::default(), if step == 0 { Event::Start } else { Event::Wake });
        recorder.event(now, &event);
        recorder.effects(&node.step(now, event));
        // The recorder still has the file open, as in a process that is killed now.
        assert_eq!(replay(&path, |_, _, _| {}).unwrap().steps, step + 1);
    }
}

#[test]
fn a_recording_that_was_cut_off_replays_as_far_as_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("life");
    life(&path);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
    let replayed = replay(&path, |_, _, _| {}).unwrap();
    assert!((150..200).contains(&replayed.steps), "{replayed:?}");
}

#[test]
fn other_effects_than_the_recorded_ones_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("life");
    life(&path);
    // The last item is a digest: change one bit of it.
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = replay(&path, |_, _, _| {}).unwrap_err();
    assert!(matches!(error, ReplayError::Diverged { step: 199, .. }), "{error}");
}

#[test]
fn what_is_no_recording_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("life");
    for bytes in
        [b"".as_slice(), b"hello, world", b"TIDEREC\x01\xff\xff\xff\xff", b"TIDEREC\x01\0\0\0\x01\xff"]
    {
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(replay(&path, |_, _, _| {}), Err(ReplayError::File(_))), "{bytes:?}");
    }
    assert!(Recorder::create(&path, &boot_of_nobody()).is_err(), "an existing file is never overwritten");
}

fn boot_of_nobody() -> Boot {
    let mut config = single_node("c", Role::Gate, DcId::NONE, "g1");
    config.node = NodeId([0; 16]);
    Boot { config, boot: BootNo(1), disk: DiskId::default(), seed: [0; 32], rows: Vec::new() }
}
