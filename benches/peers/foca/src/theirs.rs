//! foca 2.0.0 with its own settings for a local network. Its identity is an IPv4 address, a port and a generation in 8
//! bytes, and its codec lays them out as they are: both as lean as they can be.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::{Buf, BufMut};
use foca::{
    Codec, Config, Foca, Header, Identity, Member as Known, Message, NoCustomBroadcast, Notification,
    Runtime, State, Timer,
};

use crate::world::{Member, Wants};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name {
    number: u32,
    port: u16,
    generation: u16,
}

fn name(number: u32) -> Name {
    Name { number, port: 7_946, generation: 0 }
}

impl Identity for Name {
    type Addr = (u32, u16);
    fn renew(&self) -> Option<Self> {
        Some(Name { generation: self.generation + 1, ..*self })
    }
    fn addr(&self) -> Self::Addr {
        (self.number, self.port)
    }
    fn win_addr_conflict(&self, other: &Self) -> bool {
        self.generation > other.generation
    }
}

/// A packet that ends too early, or a buffer that is full.
#[derive(Debug)]
pub struct Short;

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("too short")
    }
}

impl std::error::Error for Short {}

const NAME_BYTES: usize = 8;
const MEMBER_BYTES: usize = NAME_BYTES + 3;

pub struct Plain;

fn put_name(name: &Name, to: &mut impl BufMut) {
    to.put_u32(name.number);
    to.put_u16(name.port);
    to.put_u16(name.generation);
}

fn take_name(from: &mut impl Buf) -> Result<Name, Short> {
    if from.remaining() < NAME_BYTES {
        return Err(Short);
    }
    Ok(Name { number: from.get_u32(), port: from.get_u16(), generation: from.get_u16() })
}

/// Messages are a kind, a number (0 where there is none) and whom they are about (the sender where nobody).
impl Codec<Name> for Plain {
    type Error = Short;

    fn encode_header(&mut self, header: &Header<Name>, mut to: impl BufMut) -> Result<(), Short> {
        let (kind, number, about) = match &header.message {
            Message::Ping(number) => (0, *number, None),
            Message::Ack(number) => (1, *number, None),
            Message::PingReq { target, probe_number } => (2, *probe_number, Some(target)),
            Message::IndirectPing { origin, probe_number } => (3, *probe_number, Some(origin)),
            Message::IndirectAck { target, probe_number } => (4, *probe_number, Some(target)),
            Message::ForwardedAck { origin, probe_number } => (5, *probe_number, Some(origin)),
            Message::Gossip => (6, 0, None),
            Message::Announce => (7, 0, None),
            Message::Feed => (8, 0, None),
            Message::Broadcast => (9, 0, None),
            Message::TurnUndead => (10, 0, None),
        };
        let about = about.filter(|_| (2..6).contains(&kind));
        if to.remaining_mut() < 2 * NAME_BYTES + 4 + about.map_or(0, |_| NAME_BYTES) {
            return Err(Short);
        }
        put_name(&header.src, &mut to);
        put_name(&header.dst, &mut to);
        to.put_u16(header.src_incarnation);
        to.put_u8(kind);
        to.put_u8(number);
        about.into_iter().for_each(|about| put_name(about, &mut to));
        Ok(())
    }

    fn decode_header(&mut self, mut from: impl Buf) -> Result<Header<Name>, Short> {
        let (src, dst) = (take_name(&mut from)?, take_name(&mut from)?);
        if from.remaining() < 4 {
            return Err(Short);
        }
        let (src_incarnation, kind, probe_number) = (from.get_u16(), from.get_u8(), from.get_u8());
        let about = if (2..6).contains(&kind) { take_name(&mut from)? } else { src };
        let message = match kind {
            0 => Message::Ping(probe_number),
            1 => Message::Ack(probe_number),
            2 => Message::PingReq { target: about, probe_number },
            3 => Message::IndirectPing { origin: about, probe_number },
            4 => Message::IndirectAck { target: about, probe_number },
            5 => Message::ForwardedAck { origin: about, probe_number },
            6 => Message::Gossip,
            7 => Message::Announce,
            8 => Message::Feed,
            9 => Message::Broadcast,
            10 => Message::TurnUndead,
            _ => return Err(Short),
        };
        Ok(Header { src, src_incarnation, dst, message })
    }

    fn encode_member(&mut self, member: &Known<Name>, mut to: impl BufMut) -> Result<(), Short> {
        if to.remaining_mut() < MEMBER_BYTES {
            return Err(Short);
        }
        put_name(member.id(), &mut to);
        to.put_u16(member.incarnation());
        to.put_u8(member.state() as u8);
        Ok(())
    }

    fn decode_member(&mut self, mut from: impl Buf) -> Result<Known<Name>, Short> {
        let name = take_name(&mut from)?;
        if from.remaining() < 3 {
            return Err(Short);
        }
        let incarnation = from.get_u16();
        let state = from.get_u8();
        let states = [State::Alive, State::Suspect, State::Down];
        let state = states.into_iter().find(|other| other.clone() as u8 == state).ok_or(Short)?;
        Ok(Known::new(name, incarnation, state))
    }
}

/// SplitMix64.
pub struct Draws(u64);

impl rand::rand_core::TryRng for Draws {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|word| word as u32)
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        Ok(crate::world::mix(self.0))
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let word = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

struct Calls<'a>(&'a mut Wants<Timer<Name>>);

impl Runtime<Name> for Calls<'_> {
    fn notify(&mut self, what: Notification<'_, Name>) {
        if let Notification::MemberDown(name) = what {
            self.0.deaths.push(name.number);
        }
    }
    fn send_to(&mut self, to: Name, bytes: &[u8]) {
        self.0.send.push((to.number, bytes.into()));
    }
    fn submit_after(&mut self, timer: Timer<Name>, wait: Duration) {
        self.0.timers.push((wait.as_nanos() as u64, timer));
    }
}

pub struct Theirs {
    foca: Foca<Name, Plain, Draws, NoCustomBroadcast>,
    members: u32,
}

impl Member for Theirs {
    type Timer = Timer<Name>;
    const NAME: &'static str = "foca";

    fn new(me: u32, members: u32, seed: u64) -> Self {
        let config = Config::new_lan(NonZeroU32::new(members).expect("a group has members"));
        Self { foca: Foca::new(name(me), config, Draws(seed), Plain), members }
    }

    fn start_knowing(&mut self, _: u64, want: &mut Wants<Self::Timer>) {
        let me = self.foca.identity().number;
        let others = (0..self.members).filter(|n| *n != me).map(|n| Known::alive(name(n)));
        self.foca.apply_many(others, false, Calls(want)).expect("the members are legal");
    }

    fn start_at(&mut self, _: u64, seed: u32, want: &mut Wants<Self::Timer>) {
        // The first of all has nobody to announce itself to.
        if seed == self.foca.identity().number {
            return;
        }
        self.foca.announce(name(seed), Calls(want)).expect("an announcement fits");
    }

    fn receive(&mut self, _: u64, _: u32, packet: &[u8], want: &mut Wants<Self::Timer>) {
        // An error says that the packet was for another life, or came late: as in a driver, it goes on.
        let _ = self.foca.handle_data(packet, Calls(want));
    }

    fn wake(&mut self, _: u64, timer: Self::Timer, want: &mut Wants<Self::Timer>) -> bool {
        let _ = self.foca.handle_timer(timer, Calls(want));
        true
    }

    fn listed(&self) -> usize {
        self.foca.num_members()
    }

    fn question(&self, from: u32, about: &[u32], life: u16) -> Vec<Box<[u8]>> {
        let header = Header {
            src: name(from),
            src_incarnation: life,
            dst: *self.foca.identity(),
            message: Message::Ping(1),
        };
        let mut bytes = Vec::new();
        Plain.encode_header(&header, &mut bytes).expect("there is room");
        bytes.put_u16(about.len() as u16);
        for n in about {
            Plain
                .encode_member(&Known::new(name(*n), life, State::Alive), &mut bytes)
                .expect("there is room");
        }
        vec![bytes.into()]
    }
}
