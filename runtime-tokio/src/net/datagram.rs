//! Datagrams: sealed, opened, and never taken twice.
//!
//! ```text
//! mark     8   whose it is: [`Mark`]
//! sender  16   node id
//! session  8   big endian: names one life of the sender; grows with each
//! counter  8   big endian: from 1 in each session
//! sealed   n   packet (at most 1,200 bytes) and tag (16), ChaCha20-Poly1305
//! ```
//!
//! The header is associated data. Each session of each sender has a key of its own, HKDF-SHA256 over the cluster's
//! gossip key with (cluster, sender, session), so the counter alone is a nonce that never repeats: the session is
//! durable before the first datagram, and grows even over a lost disk. Received counters pass a window of 1,024; an
//! earlier session than the newest one proven is a replay. The mark is judged before anything else, and state changes
//! only after a seal was right.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf;
use tidegate_core::Event;
use tidegate_core::id::NodeId;
use tidegate_core::swim::{Addr, Packet};
use tidegate_core::wire::{MAX_PACKET, Malformed, Mark, decode_packet, encode_packet};

use super::socket::{to_addr, to_socket};
use crate::driver::{InboxSender, Metrics};

const HEADER: usize = Mark::LEN + 32;
const TAG: usize = 16;
/// Largest datagram.
pub const MAX_DATAGRAM: usize = HEADER + MAX_PACKET + TAG;
/// Counters behind the newest one that are still taken, once each.
const WINDOW: u64 = 1_024;
/// Most senders remembered. More members than a cluster has; beyond it the one heard least recently is forgotten.
const SENDERS: usize = 16_384;

/// The cluster's gossip keys: the current one seals, any opens.
#[derive(Clone)]
pub struct KeyRing {
    keys: Vec<Arc<hkdf::Prk>>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing of {}", self.keys.len())
    }
}

/// Why a key file is no key ring.
#[derive(Debug)]
pub struct KeyRingError(String);

impl fmt::Display for KeyRingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyRingError {}

impl KeyRing {
    /// The current key and the previous ones.
    pub fn new(keys: &[[u8; 32]]) -> Self {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tidegate gossip");
        Self { keys: keys.iter().map(|key| Arc::new(salt.extract(key))).collect() }
    }

    /// From a file: one or two lines of 64 hexadecimal digits, the current key first.
    pub fn load(path: &Path) -> Result<Self, KeyRingError> {
        let fail = |why: String| KeyRingError(format!("{}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() || lines.len() > 2 {
            return Err(fail(format!(
                "{} keys; one or two lines were expected, the current key first",
                lines.len()
            )));
        }
        let keys = lines
            .iter()
            .map(|line| key_of(line).ok_or_else(|| fail("a key is 64 hexadecimal digits".into())))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self::new(&keys))
    }

    /// The keys of one session of a sender, the current one first.
    fn session(&self, cluster: &str, sender: NodeId, session: u64) -> impl Iterator<Item = LessSafeKey> {
        let info = [cluster.as_bytes().to_vec(), sender.0.to_vec(), session.to_be_bytes().to_vec()];
        self.keys.iter().map(move |key| {
            let info: Vec<&[u8]> = info.iter().map(Vec::as_slice).collect();
            let key = key.expand(&info, &CHACHA20_POLY1305).expect("the length of a key is a valid length");
            LessSafeKey::new(UnboundKey::from(key))
        })
    }
}

fn key_of(line: &str) -> Option<[u8; 32]> {
    let digits = line.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// Seals a node's datagrams.
pub(crate) struct Sealer {
    key: LessSafeKey,
    header: [u8; HEADER - 8],
    counter: u64,
}

impl Sealer {
    /// For one session of a node.
    pub(crate) fn new(ring: &KeyRing, cluster: &str, node: NodeId, session: u64) -> Option<Self> {
        let mut header = [0; HEADER - 8];
        header[..8].copy_from_slice(&Mark::of(cluster).bytes());
        header[8..24].copy_from_slice(&node.0);
        header[24..].copy_from_slice(&session.to_be_bytes());
        Some(Self { key: ring.session(cluster, node, session).next()?, header, counter: 0 })
    }

    /// The datagram with this packet in it.
    pub(crate) fn seal(&mut self, packet: &[u8]) -> Vec<u8> {
        self.counter += 1;
        let mut header = [0; HEADER];
        header[..HEADER - 8].copy_from_slice(&self.header);
        header[HEADER - 8..].copy_from_slice(&self.counter.to_be_bytes());
        let mut sealed = packet.to_vec();
        self.key
            .seal_in_place_append_tag(nonce(self.counter), Aad::from(header), &mut sealed)
            .expect("a packet is far below the cipher's limit");
        [header.as_slice(), &sealed].concat()
    }
}

/// What is remembered of a sender: its newest session, that session's key, and which counters came.
struct Sender {
    session: u64,
    key: LessSafeKey,
    newest: u64,
    seen: [u64; (WINDOW / 64) as usize],
    heard: u64,
}

impl Sender {
    /// Whether this counter has not been taken yet.
    fn is_new(&self, counter: u64) -> bool {
        counter > self.newest || (counter + WINDOW > self.newest && !self.bit(counter))
    }

    fn bit(&self, counter: u64) -> bool {
        let place = counter % WINDOW;
        self.seen[(place / 64) as usize] & (1 << (place % 64)) != 0
    }

    /// Takes a counter that is new.
    fn take(&mut self, counter: u64) {
        for skipped in (self.newest + 1..counter).rev().take(WINDOW as usize) {
            let place = skipped % WINDOW;
            self.seen[(place / 64) as usize] &= !(1 << (place % 64));
        }
        self.newest = self.newest.max(counter);
        let place = counter % WINDOW;
        self.seen[(place / 64) as usize] |= 1 << (place % 64);
    }
}

/// Opens a cluster's datagrams.
pub(crate) struct Opener {
    ring: KeyRing,
    cluster: String,
    mark: Mark,
    senders: HashMap<NodeId, Sender>,
    clock: u64,
}

impl Opener {
    /// For a cluster.
    pub(crate) fn new(ring: KeyRing, cluster: String) -> Self {
        Self { ring, mark: Mark::of(&cluster), cluster, senders: HashMap::new(), clock: 0 }
    }

    /// The sender and its packet's bytes, in place; or what is wrong.
    pub(crate) fn open<'b>(&mut self, datagram: &'b mut [u8]) -> Result<(NodeId, &'b [u8]), Malformed> {
        if datagram.len() > MAX_DATAGRAM {
            return Err(Malformed::TooLarge);
        }
        let Some((header, sealed)) = datagram.split_first_chunk_mut::<HEADER>() else {
            return Err(Malformed::Frame);
        };
        self.mark.admit(field(header, 0))?;
        if sealed.len() < TAG {
            return Err(Malformed::Frame);
        }
        let sender = NodeId(field(header, 8));
        let session = u64::from_be_bytes(field(header, 24));
        let counter = u64::from_be_bytes(field(header, 32));
        let header = *header;
        match self.senders.get(&sender) {
            Some(known) if session < known.session => return Err(Malformed::Replay),
            Some(known) if session == known.session => {
                let packet = known
                    .key
                    .open_in_place(nonce(counter), Aad::from(header), sealed)
                    .map_err(|_| Malformed::Seal)?;
                let length = packet.len();
                self.admit(sender, counter)?;
                return Ok((sender, &sealed[..length]));
            }
            _ => {}
        }
        let (key, length) = self.prove(sender, session, counter, header, sealed).ok_or(Malformed::Seal)?;
        self.remember(sender, Sender { session, key, newest: 0, seen: [0; 16], heard: 0 });
        self.admit(sender, counter)?;
        Ok((sender, &sealed[..length]))
    }

    /// Opens the first datagram of a session with whichever key fits.
    fn prove(
        &self,
        sender: NodeId,
        session: u64,
        counter: u64,
        header: [u8; HEADER],
        sealed: &mut [u8],
    ) -> Option<(LessSafeKey, usize)> {
        self.ring.session(&self.cluster, sender, session).find_map(|key| {
            // A failed opening may leave anything behind: each key tries a copy.
            let mut copy = sealed.to_vec();
            let length = key.open_in_place(nonce(counter), Aad::from(header), &mut copy).ok()?.len();
            sealed.copy_from_slice(&copy);
            Some((key, length))
        })
    }

    /// Takes the counter of a datagram whose seal was right.
    fn admit(&mut self, sender: NodeId, counter: u64) -> Result<(), Malformed> {
        self.clock += 1;
        let clock = self.clock;
        let known = self.senders.get_mut(&sender).ok_or(Malformed::Replay)?;
        known.heard = clock;
        if counter == 0 || !known.is_new(counter) {
            return Err(Malformed::Replay);
        }
        known.take(counter);
        Ok(())
    }

    fn remember(&mut self, node: NodeId, sender: Sender) {
        if self.senders.len() >= SENDERS && !self.senders.contains_key(&node) {
            let oldest = self.senders.iter().min_by_key(|(_, sender)| sender.heard).map(|(&node, _)| node);
            oldest.map(|node| self.senders.remove(&node));
        }
        self.senders.insert(node, sender);
    }
}

fn field<const N: usize>(header: &[u8; HEADER], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&header[at..at + N]);
    field
}

/// Sends a node's packets.
pub struct DatagramSender {
    socket: Arc<UdpSocket>,
    sealer: Sealer,
    metrics: Metrics,
}

impl DatagramSender {
    /// Over this socket, which must not block.
    pub(crate) fn new(socket: Arc<UdpSocket>, sealer: Sealer, metrics: Metrics) -> Self {
        Self { socket, sealer, metrics }
    }

    /// Sends one packet. It may be lost here as anywhere, which is counted.
    pub fn send(&mut self, to: Addr, packet: &Packet) {
        let packet = match encode_packet(packet) {
            Ok(packet) => packet,
            Err(large) => {
                tracing::error!(
                    bytes = large.bytes,
                    most = large.most,
                    "a packet is too large for a datagram"
                );
                self.metrics.datagrams_lost.inc();
                return;
            }
        };
        match self.socket.send_to(&self.sealer.seal(&packet), to_socket(to)) {
            Ok(_) => self.metrics.datagrams_sent.inc(),
            Err(error) => {
                tracing::debug!(to = %to_socket(to), "a datagram was not sent: {error}");
                self.metrics.datagrams_lost.inc()
            }
        };
    }
}

/// Receives a node's datagrams, for as long as the task lives.
pub(crate) async fn receive_datagrams(
    socket: Arc<UdpSocket>,
    mut opener: Opener,
    inbox: InboxSender,
    metrics: Metrics,
) -> std::io::Result<()> {
    let socket = tokio::net::UdpSocket::from_std(socket.try_clone()?)?;
    let mut buffer = [0; MAX_DATAGRAM + 1];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // What an earlier datagram of ours met on its way (a closed port) is reported here.
                tracing::debug!("receiving a datagram: {error}");
                continue;
            }
        };
        let event = event_of(&mut opener, &mut buffer[..length], from, &metrics);
        if !inbox.offer_datagram(event) {
            metrics.datagrams_lost.inc();
        }
    }
}

fn event_of(opener: &mut Opener, datagram: &mut [u8], from: SocketAddr, metrics: &Metrics) -> Event {
    match opener.open(datagram) {
        Ok((sender, packet)) => {
            metrics.datagrams_received.inc();
            match decode_packet(packet) {
                Ok(packet) => Event::Datagram { from: to_addr(from), packet: Box::new(packet) },
                Err(why) => Event::Malformed { peer: Some(sender), why },
            }
        }
        Err(why) => Event::Malformed { peer: None, why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALICE: NodeId = NodeId([1; 16]);

    fn pair() -> (Sealer, Opener) {
        let ring = KeyRing::new(&[[7; 32]]);
        (Sealer::new(&ring, "c", ALICE, 5).unwrap(), Opener::new(ring, "c".into()))
    }

    fn open(opener: &mut Opener, datagram: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut copy = datagram.to_vec();
        opener.open(&mut copy).map(|(sender, packet)| {
            assert_eq!(sender, ALICE);
            packet.to_vec()
        })
    }

    #[test]
    fn a_datagram_is_taken_once_in_any_order_within_the_window() {
        let (mut sealer, mut opener) = pair();
        let sealed: Vec<_> = (0..3_000u32).map(|n| sealer.seal(&n.to_be_bytes())).collect();
        assert_eq!(open(&mut opener, &sealed[10]).unwrap(), 10u32.to_be_bytes());
        assert_eq!(open(&mut opener, &sealed[10]), Err(Malformed::Replay));
        assert!(open(&mut opener, &sealed[3]).is_ok(), "late, within the window");
        assert_eq!(open(&mut opener, &sealed[3]), Err(Malformed::Replay));
        assert!(open(&mut opener, &sealed[2_999]).is_ok());
        assert_eq!(open(&mut opener, &sealed[1_000]), Err(Malformed::Replay), "behind the window");
        assert!(open(&mut opener, &sealed[2_999 - 1_023]).is_ok(), "the last one inside");
        assert_eq!(open(&mut opener, &sealed[2_999 - 1_024]), Err(Malformed::Replay));
    }

    #[test]
    fn an_earlier_session_is_a_replay_and_a_later_one_begins_anew() {
        let (mut old, mut opener) = pair();
        let ring = KeyRing::new(&[[7; 32]]);
        let mut new = Sealer::new(&ring, "c", ALICE, 6).unwrap();
        let (first, second) = (old.seal(b"1"), old.seal(b"2"));
        assert!(open(&mut opener, &first).is_ok());
        assert!(open(&mut opener, &new.seal(b"3")).is_ok());
        assert_eq!(open(&mut opener, &second), Err(Malformed::Replay));
    }

    #[test]
    fn the_previous_key_still_opens_and_a_strange_one_never_does() {
        let ring = KeyRing::new(&[[8; 32], [7; 32]]);
        let mut opener = Opener::new(ring.clone(), "c".into());
        let (mut previous, _) = pair();
        assert!(open(&mut opener, &previous.seal(b"x")).is_ok());
        let mut current = Sealer::new(&ring, "c", NodeId([2; 16]), 1).unwrap();
        assert!(opener.open(&mut current.seal(b"x")).is_ok());
        let mut strange = Sealer::new(&KeyRing::new(&[[9; 32]]), "c", ALICE, 9).unwrap();
        assert_eq!(open(&mut opener, &strange.seal(b"x")), Err(Malformed::Seal));
        let mut other_cluster = Sealer::new(&ring, "d", ALICE, 9).unwrap();
        let mut other_cluster = other_cluster.seal(b"x");
        assert_eq!(open(&mut opener, &other_cluster), Err(Malformed::Cluster));
        // Who writes our mark over it has not our cluster's key.
        other_cluster[..Mark::LEN].copy_from_slice(&Mark::of("c").bytes());
        assert_eq!(open(&mut opener, &other_cluster), Err(Malformed::Seal));
        // The failures have not moved the sender's session.
        assert!(open(&mut opener, &previous.seal(b"x")).is_ok());
    }

    #[test]
    fn a_key_file_is_one_or_two_lines_of_64_digits() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let key = "0123456789abcdef".repeat(4);
        for (text, good) in [
            (format!("{key}\n"), true),
            (format!("{key}\n{key}\n"), true),
            (String::new(), false),
            (format!("{key}\n{key}\n{key}\n"), false),
            ("secret".into(), false),
        ] {
            fs::write(file.path(), &text).unwrap();
            assert_eq!(KeyRing::load(file.path()).is_ok(), good, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_rightly_sealed(bytes in proptest::collection::vec(any::<u8>(), 0..1_400)) {
            let (_, mut opener) = pair();
            let mut copy = bytes;
            prop_assert!(opener.open(&mut copy).is_err());
            prop_assert!(opener.senders.is_empty());
        }

        #[test]
        fn a_changed_bit_breaks_the_seal(at in 0usize..(HEADER + 5 + TAG) * 8) {
            let (mut sealer, mut opener) = pair();
            let mut datagram = sealer.seal(b"hello");
            datagram[at / 8] ^= 1 << (at % 8);
            prop_assert!(opener.open(&mut datagram).is_err());
            prop_assert!(opener.senders.is_empty());
        }

        #[test]
        fn the_window_is_a_set_of_counters(counters in proptest::collection::vec(1u64..5_000, 1..200)) {
            let ring = KeyRing::new(&[[7; 32]]);
            let mut opener = Opener::new(ring.clone(), "c".into());
            let (mut taken, mut newest) = (std::collections::HashSet::new(), 0);
            for counter in counters {
                let mut sealer = Sealer::new(&ring, "c", ALICE, 5).unwrap();
                sealer.counter = counter - 1;
                let fresh = counter + WINDOW > newest && !taken.contains(&counter);
                prop_assert_eq!(open(&mut opener, &sealer.seal(b"x")).is_ok(), fresh);
                if fresh {
                    taken.insert(counter);
                    newest = newest.max(counter);
                }
            }
        }
    }
}
