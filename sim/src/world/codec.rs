//! What becomes of a message on the wire: one in so many goes through the codec, and some are damaged there.

use tidegate_core::swim::Packet;
use tidegate_core::wire::{self, MINOR, Malformed, Message};

use super::facts::HostIx;
use super::fate::Draw;
use super::surgery::{add_unknown, drop_last, with_last_fields};
use super::{Machine, World};

/// A corrupted message has at most so many flipped bits.
const FLIPS_MAX: u32 = 8;

impl<M: Machine> World<M> {
    /// One in so many messages becomes bytes and a message again, which must be the same.
    pub(super) fn through_the_wire(
        &mut self,
        from: HostIx,
        to: HostIx,
        draw: Draw,
        message: Box<Message>,
    ) -> Result<Box<Message>, String> {
        let is_newer = self.scene.speaks[from].minor > MINOR;
        if !is_newer && !self.goes_through_the_wire(draw) {
            return Ok(message);
        }
        let (Some(sender), Some(receiver)) = (self.scene.hosts[from].role, self.scene.hosts[to].role) else {
            return Ok(message);
        };
        self.wired += 1;
        let mut bytes = Vec::new();
        wire::encode_frame(&message, &mut bytes)
            .map_err(|why| format!("{:?} does not fit: {why:?}", message.kind()))?;
        if is_newer {
            bytes = with_last_fields(&bytes, add_unknown);
        }
        match wire::decode_frame(&bytes, sender, receiver) {
            Ok(Some((taken, Ok(back)))) if back == *message && taken == bytes.len() => Ok(Box::new(back)),
            Ok(Some((_, Ok(_)))) => Err(format!("{message:?} is another message after the wire")),
            other => Err(format!(
                "{message:?} from {} to {} does not decode: {other:?}",
                self.scene.name(from),
                self.scene.name(to)
            )),
        }
    }

    /// What the codec finds in a message of which bits were flipped. Where it still finds a message it is not let in:
    /// the seal of a connection would not have opened.
    pub(super) fn corrupted(&self, from: HostIx, to: HostIx, message: &Message, draw: Draw) -> Malformed {
        let roles = self.scene.hosts[from].role.zip(self.scene.hosts[to].role);
        let mut bytes = Vec::new();
        let (Some((sender, receiver)), Ok(_)) = (roles, wire::encode_frame(message, &mut bytes)) else {
            return damage(draw);
        };
        let mut draw = draw;
        for _ in 0..FLIPS_MAX {
            draw = draw.next();
            let place = draw.below(bytes.len() as u64) as usize;
            bytes[place] ^= 1 << draw.next().below(8);
            if let Err(why) | Ok(Some((_, Err(why)))) = wire::decode_frame(&bytes, sender, receiver) {
                return why;
            }
        }
        damage(draw)
    }

    /// What a receiver finds in a message whose last field is missing.
    pub(super) fn shortened(
        &self,
        from: HostIx,
        to: HostIx,
        message: &Message,
    ) -> Result<Message, Malformed> {
        let roles = self.scene.hosts[from].role.zip(self.scene.hosts[to].role);
        let mut bytes = Vec::new();
        let (Some((sender, receiver)), Ok(_)) = (roles, wire::encode_frame(message, &mut bytes)) else {
            return Err(Malformed::Body);
        };
        match wire::decode_frame(&with_last_fields(&bytes, drop_last), sender, receiver) {
            Ok(Some((_, read))) => read,
            Ok(None) => Err(Malformed::Frame),
            Err(why) => Err(why),
        }
    }

    fn goes_through_the_wire(&self, draw: Draw) -> bool {
        let every = u64::from(self.scene.plan.network.wire_every);
        // A division for each message is dear, and the default is a power of two.
        if every.is_power_of_two() {
            draw.0 & (every - 1) == 0
        } else {
            every > 0 && draw.0.is_multiple_of(every)
        }
    }

    pub(super) fn datagram_through_the_wire(
        &mut self,
        draw: Draw,
        packet: Box<Packet>,
    ) -> Result<Box<Packet>, String> {
        if !self.goes_through_the_wire(draw) {
            return Ok(packet);
        }
        self.wired += 1;
        let bytes =
            wire::encode_packet(&packet).map_err(|why| format!("{packet:?} does not fit: {why:?}"))?;
        match wire::decode_packet(&bytes) {
            Ok(back) if back == *packet => Ok(Box::new(back)),
            other => Err(format!("{packet:?} does not survive the wire: {other:?}")),
        }
    }
}

/// What is wrong with damaged bytes.
pub(super) fn damage(draw: Draw) -> Malformed {
    [Malformed::Body, Malformed::Bounds, Malformed::UnknownKind, Malformed::Frame]
        [draw.next().below(4) as usize]
}
