//! The decoder: any bytes give a message, a packet, a greeting or an error, and what they give says the same again.

use tidegate_core::id::Role;
use tidegate_core::wire::{
    Hello, HelloAck, LENGTH_LEN, MAX_FRAME, MAX_PACKET, decode_frame, decode_packet, encode_frame,
    encode_packet,
};
use tidegate_core::{Effect, Event};

const ROLES: [Role; 3] = [Role::Gate, Role::Manager, Role::Worker];

/// The target.
pub fn run(bytes: &[u8]) {
    frames(bytes);
    packet(bytes);
    greetings(bytes);
    recording(bytes);
}

/// The bytes as a stream, at each end of each link.
fn frames(bytes: &[u8]) {
    for from in ROLES {
        for to in ROLES {
            let mut rest = bytes;
            while let Ok(Some((taken, message))) = decode_frame(rest, from, to) {
                assert!(taken <= rest.len() && taken <= LENGTH_LEN + MAX_FRAME);
                rest = &rest[taken..];
                let Ok(message) = message else { continue };
                assert_eq!(message.validate(), Ok(()));
                let mut again = Vec::new();
                // Bytes that waste room may hold a message that is within its bounds all the same; never a larger one.
                encode_frame(&message, &mut again).expect("what fitted fits");
                assert!(again.len() <= taken, "our own encoding is the shortest");
                assert_eq!(decode_frame(&again, from, to), Ok(Some((again.len(), Ok(message)))));
            }
        }
    }
}

fn packet(bytes: &[u8]) {
    if let Ok(packet) = decode_packet(bytes) {
        let again = encode_packet(&packet).expect("what fitted fits");
        assert!(again.len() <= bytes.len() && bytes.len() <= MAX_PACKET);
        assert_eq!(decode_packet(&again), Ok(packet));
    }
}

fn greetings(bytes: &[u8]) {
    if let Ok(Some((taken, hello))) = Hello::decode(bytes) {
        assert!(taken <= bytes.len());
        let mut again = Vec::new();
        hello.encode(&mut again).expect("what fitted fits");
        assert_eq!(Hello::decode(&again), Ok(Some((again.len(), hello))));
    }
    if let Ok(Some((taken, ack))) = HelloAck::decode(bytes) {
        assert!(taken <= bytes.len());
        let mut again = Vec::new();
        ack.encode(&mut again).expect("what fitted fits");
        assert_eq!(HelloAck::decode(&again), Ok(Some((again.len(), ack))));
    }
}

/// A line of a recording.
fn recording(bytes: &[u8]) {
    if let Ok(event) = minicbor::decode::<Event>(bytes) {
        let again = minicbor::to_vec(&event).expect("encoding into memory");
        assert_eq!(minicbor::decode::<Event>(&again).expect("it was just encoded"), event);
    }
    if let Ok(effect) = minicbor::decode::<Effect>(bytes) {
        let again = minicbor::to_vec(&effect).expect("encoding into memory");
        assert_eq!(minicbor::decode::<Effect>(&again).expect("it was just encoded"), effect);
    }
}
