//! Frames of the ordered connection, and datagrams: messages to bytes and back.
//!
//! ```text
//! length  u32 BE   of everything after itself: 6 .. MAX_FRAME
//! major   u8       protocol major version
//! class   u8       the kind's constant
//! kind    u16 BE
//! flags   u16 BE   none is defined: 0
//! body    CBOR     the message
//! ```
//!
//! Decoding is total: any bytes give a message or a [`Malformed`]. The header is judged before the body is looked at,
//! the body's shape ([`super::skim`]) before anything is allocated for it, its values
//! ([`super::validate`]) before anyone sees it. Nothing here reads a socket.

use alloc::vec::Vec;

use super::kind::{Kind, may_send};
use super::skim::skim;
use super::{MAJOR, Malformed, Message};
use crate::id::Role;
use crate::swim::Packet;

/// Largest frame, its length field not counted. One number for every node and every message.
pub const MAX_FRAME: usize = 1024 * 1024;
/// Length of the header, the length field not counted.
pub const HEADER_LEN: usize = 6;
/// Length of the length field.
pub const LENGTH_LEN: usize = 4;
/// Largest datagram, its seal not counted: fits any path without fragments.
pub const MAX_PACKET: usize = 1_200;

/// Larger than the codec may make it. What was to be encoded is not: nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// How many bytes it would have had.
    pub bytes: usize,
    /// How many it may have.
    pub most: usize,
}

/// Appends the message as one frame.
pub fn encode_frame(message: &Message, out: &mut Vec<u8>) -> Result<(), TooLarge> {
    let kind = message.kind();
    encode_body(kind as u16, kind.class() as u8, kind.max_body(), message, out)
}

/// Appends a frame with this header and body.
pub(super) fn encode_body<T: minicbor::Encode<()>>(
    kind: u16,
    class: u8,
    most: usize,
    body: &T,
    out: &mut Vec<u8>,
) -> Result<(), TooLarge> {
    let start = out.len();
    let [kind_high, kind_low] = kind.to_be_bytes();
    out.extend_from_slice(&[0, 0, 0, 0, MAJOR, class, kind_high, kind_low, 0, 0]);
    append_cbor(body, out);
    let bytes = out.len() - start - LENGTH_LEN - HEADER_LEN;
    if bytes > most {
        out.truncate(start);
        return Err(TooLarge { bytes, most });
    }
    let length = ((HEADER_LEN + bytes) as u32).to_be_bytes();
    out[start..start + LENGTH_LEN].copy_from_slice(&length);
    Ok(())
}

/// Appends a value's encoding. Writing into memory cannot fail and our own `Encode`s never refuse a value.
pub(super) fn append_cbor<T: minicbor::Encode<()>>(value: &T, out: &mut Vec<u8>) {
    minicbor::encode(value, out).expect("encoding into memory cannot fail");
}

/// One whole frame, cut out of a stream and not yet decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'b> {
    /// Protocol major version.
    pub major: u8,
    /// The class that the sender claims.
    pub class: u8,
    /// Number of the kind.
    pub kind: u16,
    /// Flags.
    pub flags: u16,
    /// The body.
    pub body: &'b [u8],
}

/// Cuts the first frame off `bytes`, with the number of bytes it took; `None` where more are needed. After an `Err`
/// the stream has no meaning any more.
pub fn split_frame(bytes: &[u8]) -> Result<Option<(usize, Frame<'_>)>, Malformed> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_LEN>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length < HEADER_LEN {
        return Err(Malformed::Frame);
    }
    if length > MAX_FRAME {
        return Err(Malformed::TooLarge);
    }
    let Some(frame) = rest.get(..length) else {
        return Ok(None);
    };
    let [major, class, kind_high, kind_low, flags_high, flags_low, body @ ..] = frame else {
        return Err(Malformed::Frame);
    };
    let kind = u16::from_be_bytes([*kind_high, *kind_low]);
    let flags = u16::from_be_bytes([*flags_high, *flags_low]);
    Ok(Some((LENGTH_LEN + length, Frame { major: *major, class: *class, kind, flags, body })))
}

impl Frame<'_> {
    /// The message, as a node of role `to` takes it from a peer that has proven role `from`.
    pub fn message(&self, from: Role, to: Role) -> Result<Message, Malformed> {
        if self.major != MAJOR || self.flags != 0 {
            return Err(Malformed::Frame);
        }
        let kind = Kind::from_number(self.kind).ok_or(Malformed::UnknownKind)?;
        if self.class != kind.class() as u8 {
            return Err(Malformed::Frame);
        }
        if !may_send(from, to, kind) {
            return Err(Malformed::Role);
        }
        if self.body.len() > kind.max_body() {
            return Err(Malformed::TooLarge);
        }
        let message: Message = decode_cbor(self.body)?;
        if message.kind() != kind {
            return Err(Malformed::Body);
        }
        message.validate().map_err(|_| Malformed::Bounds)?;
        Ok(message)
    }
}

/// Decodes a value that must fill `bytes` exactly.
pub(super) fn decode_cbor<'b, T: minicbor::Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, Malformed> {
    skim(bytes)?;
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode().map_err(|_| Malformed::Body)?;
    if decoder.position() == bytes.len() { Ok(value) } else { Err(Malformed::Body) }
}

/// Decodes the first message of `bytes`, with the number of bytes it took; `None` where more are needed. The inner
/// error costs one frame, the outer one the connection.
#[allow(clippy::type_complexity)]
pub fn decode_frame(
    bytes: &[u8],
    from: Role,
    to: Role,
) -> Result<Option<(usize, Result<Message, Malformed>)>, Malformed> {
    Ok(split_frame(bytes)?.map(|(taken, frame)| (taken, frame.message(from, to))))
}

/// A datagram's bytes, before they are sealed: the major version, then the packet.
pub fn encode_packet(packet: &Packet) -> Result<Vec<u8>, TooLarge> {
    let mut bytes = alloc::vec![MAJOR];
    append_cbor(packet, &mut bytes);
    if bytes.len() > MAX_PACKET {
        return Err(TooLarge { bytes: bytes.len(), most: MAX_PACKET });
    }
    Ok(bytes)
}

/// The packet in a datagram whose seal was right.
pub fn decode_packet(bytes: &[u8]) -> Result<Packet, Malformed> {
    match bytes {
        _ if bytes.len() > MAX_PACKET => Err(Malformed::TooLarge),
        [MAJOR, body @ ..] => decode_cbor(body),
        _ => Err(Malformed::Frame),
    }
}
