//! The codec against pinned bytes, against itself, and against hostile bytes.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use expect_test::expect_file;
use proptest::prelude::*;

use super::samples::{messages, run, spec, totals};
use super::*;
use crate::bytes::Bytes;
use crate::id::{DcEpoch, Role};
use crate::jobs::{ErrorCount, Totals};
use crate::swim::Packet;

const ROLES: [Role; 3] = [Role::Gate, Role::Manager, Role::Worker];

fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_frame(message, &mut bytes).unwrap();
    bytes
}

/// Some pair of roles that may exchange this kind.
fn link(kind: Kind) -> (Role, Role) {
    let pairs = ROLES.iter().flat_map(|&from| ROLES.iter().map(move |&to| (from, to)));
    pairs.into_iter().find(|&(from, to)| may_send(from, to, kind)).unwrap()
}

fn decoded(bytes: &[u8], kind: Kind) -> Result<Message, Malformed> {
    let (from, to) = link(kind);
    decode_frame(bytes, from, to)?.expect("a whole frame").1
}

#[test]
fn the_samples_show_every_kind() {
    let mut shown: Vec<_> = messages().iter().map(Message::kind).collect();
    shown.dedup();
    shown.sort();
    shown.dedup();
    assert_eq!(shown, Kind::ALL);
}

/// The bytes of every kind. A change here is a change of the protocol: old nodes must still be able to read it.
#[test]
fn golden_vectors() {
    let mut table = String::new();
    for message in messages() {
        let hex: String = encoded(&message).iter().map(|byte| format!("{byte:02x}")).collect();
        table += &format!("{} {hex}\n", message.kind().as_str());
    }
    let hex: String =
        encode_packet(&samples::packet()).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    table += &format!("datagram {hex}\n");
    expect_file!["golden.txt"].assert_eq(&table);
}

#[test]
fn what_is_pinned_decodes_to_what_it_was_made_of() {
    let lines: Vec<_> = include_str!("golden.txt").lines().collect();
    assert_eq!(lines.len(), messages().len() + 1, "messages, then the datagram");
    for (line, message) in lines.into_iter().zip(messages()) {
        let hex = line.split_once(' ').unwrap().1;
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        assert_eq!(decoded(&bytes, message.kind()), Ok(message));
    }
}

#[test]
fn the_number_of_a_kind_is_the_number_of_its_variant() {
    for message in messages() {
        let body = &encoded(&message)[LENGTH_LEN + HEADER_LEN..];
        let mut decoder = minicbor::Decoder::new(body);
        assert_eq!(decoder.array().unwrap(), Some(2));
        assert_eq!(decoder.u16().unwrap(), message.kind() as u16, "{:?}", message.kind());
    }
}

#[test]
fn fields_of_a_later_minor_version_are_skipped() {
    // [1 Ping, [token 9, a field that this version does not know]]
    let body = [0x82, 0x01, 0x82, 0x09, 0x82, 0x01, 0x63, b'n', b'e', b'w'];
    let mut bytes = ((body.len() + HEADER_LEN) as u32).to_be_bytes().to_vec();
    bytes.extend([MAJOR, Class::Critical as u8, 0, 1, 0, 0]);
    bytes.extend(body);
    assert_eq!(decoded(&bytes, Kind::Ping), Ok(Message::Ping { token: 9 }));
}

#[test]
fn a_frame_is_refused_for_its_header_alone() {
    let message = Message::StopShard { run: run(), dc_epoch: DcEpoch(1), mode: crate::jobs::StopMode::Kill };
    let good = encoded(&message);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        decoded(&bytes, Kind::StopShard)
    };
    assert_eq!(with(4, MAJOR + 1), Err(Malformed::Frame), "another major");
    assert_eq!(with(5, Class::High as u8), Err(Malformed::Frame), "a class that is not the kind's");
    assert_eq!(with(7, 200), Err(Malformed::UnknownKind));
    assert_eq!(with(7, Kind::StartShard as u8), Err(Malformed::Frame), "another kind of another class");
    assert_eq!(with(9, 1), Err(Malformed::Frame), "a flag");
    assert_eq!(with(10, 0xff), Err(Malformed::Body));
    // Same class, same link: only the body tells.
    let mut bytes = encoded(&Message::Ping { token: 1 });
    bytes[7] = Kind::Pong as u8;
    assert_eq!(decoded(&bytes, Kind::Pong), Err(Malformed::Body));

    assert_eq!(
        decode_frame(&good, Role::Worker, Role::Manager),
        Ok(Some((good.len(), Err(Malformed::Role))))
    );
    assert_eq!(decode_frame(&good, Role::Gate, Role::Worker), Ok(Some((good.len(), Err(Malformed::Role)))));
    assert_eq!(split_frame(&[0, 0, 0, 5, 1, 0, 0, 0, 0]), Err(Malformed::Frame), "shorter than a header");
    assert_eq!(
        split_frame(&(MAX_FRAME as u32 + 1).to_be_bytes()),
        Err(Malformed::TooLarge),
        "before its bytes come"
    );
    assert_eq!(split_frame(&(MAX_FRAME as u32).to_be_bytes()), Ok(None));
}

#[test]
fn a_body_larger_than_its_kind_is_neither_made_nor_read() {
    let mut large = spec();
    large.workflows[0].payload = Bytes(vec![0; 600 * 1024]);
    let message = Message::Dispatch {
        job: samples::job(),
        gate_epoch: crate::id::GateEpoch(1),
        owner: samples::node(1),
        spec: Box::new(large),
        slot: 0,
        slots: 1,
        remaining_ms: 1,
        half_rtt_us: 0,
    };
    let mut out = vec![7];
    assert!(encode_frame(&message, &mut out).is_err());
    assert_eq!(out, [7], "nothing is left behind");

    let mut bytes = encoded(&Message::Ping { token: 1 });
    bytes.resize(LENGTH_LEN + HEADER_LEN + 2_000, 0);
    let length = (bytes.len() - LENGTH_LEN) as u32;
    bytes[..LENGTH_LEN].copy_from_slice(&length.to_be_bytes());
    assert_eq!(decoded(&bytes, Kind::Ping), Err(Malformed::TooLarge));
}

#[test]
fn values_outside_their_bounds_are_refused_after_decoding() {
    let (run, dc_epoch) = (run(), DcEpoch(1));
    let mut bad_run = run;
    bad_run.attempt.0 = 0;
    let errors =
        (0..=Totals::MAX_KINDS).map(|kind| ErrorCount { kind: format!("{kind:03}"), count: 1 }).collect();
    let many = Totals { errors, ..Totals::default() };
    let mut unsorted = totals();
    unsorted.errors.reverse();
    let mut bad_spec = spec();
    bad_spec.workflows[0].needs = vec![crate::id::WorkflowIx(1)];
    let dispatch = |slot, spec| Message::Dispatch {
        job: run.shard.job,
        gate_epoch: crate::id::GateEpoch(1),
        owner: samples::node(1),
        spec: Box::new(spec),
        slot,
        slots: 1,
        remaining_ms: 1,
        half_rtt_us: 0,
    };
    let progress = |totals| Message::ShardProgress { run, seq: 1, totals: Box::new(totals), windows: vec![] };
    for message in [
        Message::StartShard { run: bad_run, dc_epoch, start_in_us: 0 },
        Message::Forget { jobs: vec![run.shard.job; MAX_JOBS + 1] },
        progress(many),
        progress(unsorted),
        dispatch(1, spec()),
        dispatch(0, bad_spec),
        Message::StopInDc {
            job: run.shard.job,
            gate_epoch: crate::id::GateEpoch(1),
            verdict: crate::jobs::JobStatus::Running,
        },
    ] {
        let kind = message.kind();
        assert_eq!(decoded(&encoded(&message), kind), Err(Malformed::Bounds), "{message:?}");
    }
}

#[test]
fn a_broken_body_costs_one_frame_and_a_broken_frame_the_connection() {
    let ping = encoded(&Message::Ping { token: 1 });
    let mut bad_body = ping.clone();
    bad_body[10] = 0xff;
    let stream = [&bad_body[..], &ping, &[0, 0, 0, 0]].concat();
    let next = |at: usize| decode_frame(&stream[at..], Role::Manager, Role::Worker);
    let (first, second) = (bad_body.len(), bad_body.len() + ping.len());
    assert_eq!(next(0), Ok(Some((first, Err(Malformed::Body)))));
    assert_eq!(next(first), Ok(Some((ping.len(), Ok(Message::Ping { token: 1 })))));
    assert_eq!(next(second), Err(Malformed::Frame));
    assert!(Malformed::Frame.ends_connection() && !Malformed::Body.ends_connection());
}

/// What `skim` counts on: no list element is larger in memory than 24 bytes for each item that it takes to write the
/// smallest one of its type (a list's own head is an item, so is each field).
#[test]
fn no_element_is_large_for_its_items() {
    use core::mem::size_of;
    // A list without samples is one item: an empty sketch.
    let totals = 1 + 9 + 1;
    let window = 1 + 5;
    let report = 1 + 4 + (1 + 4) + totals;
    for (what, size, items) in [
        ("datacenter", size_of::<crate::id::DcId>(), 1),
        ("proposal", size_of::<Bytes>(), 1),
        ("need", size_of::<crate::id::WorkflowIx>(), 1),
        ("executor", size_of::<crate::jobs::ExecutorKind>(), 1),
        ("entry", size_of::<crate::ledger::LogRecord>(), 3),
        ("row of a snapshot", size_of::<crate::ledger::ImageRow>(), 3),
        ("error", size_of::<ErrorCount>(), 3),
        ("workflow's progress", size_of::<(crate::jobs::WorkflowStatus, Totals)>(), 2 + totals),
        ("window", size_of::<(crate::id::WorkflowIx, crate::jobs::Window)>(), 2 + window),
        ("threshold", size_of::<crate::jobs::Threshold>(), 7),
        ("workflow", size_of::<crate::jobs::WorkflowSpec>(), 1 + 5 + 5),
        ("workflow's result", size_of::<crate::jobs::WorkflowReport>(), report),
        ("held shard", size_of::<HeldShard>(), 1 + 1 + 2 + 5),
        ("job", size_of::<(crate::id::JobId, Reconciled)>(), 4),
        ("reach", size_of::<(crate::id::DcId, crate::federation::Reach)>(), 3),
        // As bytes of a string: the shortest fact.
        ("fact", size_of::<crate::swim::Fact>(), 11),
    ] {
        assert!(size <= 24 * items, "{what}: {size} bytes, {items} items");
    }
}

#[test]
fn packets_have_a_version_and_a_size() {
    let packet = samples::packet();
    let bytes = encode_packet(&packet).unwrap();
    assert_eq!(decode_packet(&bytes), Ok(packet.clone()));
    assert_eq!(decode_packet(&[]), Err(Malformed::Frame));
    assert_eq!(decode_packet(&[&[MAJOR + 1], &bytes[1..]].concat()), Err(Malformed::Frame));
    assert_eq!(decode_packet(&[&bytes[..], &[0]].concat()), Err(Malformed::Body));
    assert_eq!(decode_packet(&vec![MAJOR; MAX_PACKET + 1]), Err(Malformed::TooLarge));
    let facts = vec![packet.facts[0]; 120];
    assert!(encode_packet(&Packet { facts, ..packet }).is_err());
}

/// Any sample.
fn any_message() -> impl Strategy<Value = Message> {
    proptest::sample::select(messages())
}

proptest! {
    /// However a stream is cut into pieces, a frame comes out when it is whole, and not before.
    #[test]
    fn a_stream_cut_anywhere_gives_the_same_messages(
        choice in proptest::collection::vec(any_message(), 1..6),
        piece in 1usize..4_000,
    ) {
        let choice: Vec<_> =
            choice.into_iter().filter(|message| may_send(Role::Manager, Role::Worker, message.kind())).collect();
        let bytes: Vec<u8> = choice.iter().flat_map(encoded).collect();
        let (mut got, mut held) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            held.extend_from_slice(piece);
            while let Some((taken, message)) = decode_frame(&held, Role::Manager, Role::Worker).unwrap() {
                held.drain(..taken);
                got.push(message.unwrap());
            }
        }
        prop_assert_eq!(got, choice);
        prop_assert!(held.is_empty());
    }

    #[test]
    fn a_shortened_body_is_malformed(message in any_message(), cut in 1usize..200) {
        let mut bytes = encoded(&message);
        let body = bytes.len() - LENGTH_LEN - HEADER_LEN;
        bytes.truncate(bytes.len() - cut.min(body));
        prop_assert_eq!(split_frame(&bytes), Ok(None), "the length still tells");
        let length = (bytes.len() - LENGTH_LEN) as u32;
        bytes[..LENGTH_LEN].copy_from_slice(&length.to_be_bytes());
        prop_assert!(decoded(&bytes, message.kind()).is_err());
    }

    /// What still decodes after a bit has flipped is a message of the same kind, within its bounds, and says the
    /// same when it is encoded and decoded again.
    #[test]
    fn a_flipped_bit_is_refused_or_gives_a_sane_message(message in any_message(), bit in any::<proptest::sample::Index>()) {
        let mut bytes = encoded(&message);
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let (from, to) = link(message.kind());
        if let Ok(Some((_, Ok(other)))) = decode_frame(&bytes, from, to) {
            prop_assert_eq!(other.kind(), message.kind());
            prop_assert_eq!(other.validate(), Ok(()));
            prop_assert_eq!(decoded(&encoded(&other), other.kind()), Ok(other));
        }
    }

    #[test]
    fn hostile_bodies_never_panic(
        kind in proptest::sample::select(Kind::ALL),
        body in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut bytes = ((body.len() + HEADER_LEN) as u32).to_be_bytes().to_vec();
        bytes.extend([MAJOR, kind.class() as u8, 0, kind as u8, 0, 0]);
        bytes.extend(body);
        if let Ok(message) = decoded(&bytes, kind) {
            prop_assert_eq!(message.kind(), kind);
        }
        let _ = decode_packet(&bytes[LENGTH_LEN..]);
        let _ = Hello::decode(&bytes);
        let _ = HelloAck::decode(&bytes);
    }
}
