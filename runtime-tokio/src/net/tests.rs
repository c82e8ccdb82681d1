//! Who gets in, who does not, and what the node hears of it. Real sockets on loopback.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tidegate_core::Event;
use tidegate_core::fault::FaultCode;
use tidegate_core::id::{BootNo, DcId, NodeId, Role};
use tidegate_core::wire::{ConnectionKind, Hello, MAJOR, MINOR, Malformed, Message, encode_frame};

use super::greeting::{self, NoGreeting};
use super::*;
use crate::driver::{Inbox, InboxSender, Input, Metrics, NodeClock};
use crate::init::Authority;

/// Far longer than anything here takes: a test that fails says so, and none waits this long when it passes.
const PATIENCE: Duration = Duration::from_secs(60);

fn claims(role: Role, dc: &str, name: &str) -> Claims {
    let dc = if dc.is_empty() { DcId::NONE } else { DcId::new(dc).unwrap() };
    Claims { cluster: "c".into(), role, dc, name: name.into() }
}

fn hello(claims: &Claims, boot: u32) -> Hello {
    Hello {
        major: MAJOR.into(),
        minor: MINOR,
        cluster: claims.cluster.clone(),
        role: claims.role,
        dc: claims.dc,
        name: claims.name.clone(),
        node: claims.node(),
        boot: BootNo(boot),
        connection: ConnectionKind::Ordered,
        addr: to_addr("127.0.0.1:9".parse().unwrap()),
        features: None,
    }
}

fn tls(authority: &Authority, claims: &Claims) -> NodeTls {
    NodeTls::issued(&authority.certificate(), &authority.issue(claims).unwrap()).unwrap()
}

/// Connections without a node behind them: the test reads the inbox.
struct End {
    _links: Links,
    _sender: InboxSender,
    inbox: Inbox,
    metrics: Metrics,
    address: String,
    heard: Vec<Input>,
}

impl End {
    fn new(authority: &Authority, me: &Claims, boot: u32, targets: Vec<Target>, known: &[&Claims]) -> Self {
        let bound = Bound::new("127.0.0.1:0".parse().unwrap()).unwrap();
        let (sender, inbox) = Inbox::new(NodeClock::start());
        let metrics = Metrics::default();
        let config = LinksConfig {
            me: hello(me, boot),
            tls: tls(authority, me),
            targets,
            known: known.iter().map(|claims| claims.node()).collect::<HashSet<_>>(),
        };
        let links = Links::start(bound.tcp, config, sender.clone(), metrics.clone()).unwrap();
        let address = bound.addr.to_string();
        Self { _links: links, _sender: sender, inbox, metrics, address, heard: Vec::new() }
    }

    fn target(&self, claims: &Claims) -> Target {
        Target { node: claims.node(), name: claims.name.clone(), address: self.address.clone() }
    }

    /// The next thing the node would hear.
    async fn next(&mut self) -> Input {
        let begun = std::time::Instant::now();
        while self.heard.is_empty() {
            assert!(begun.elapsed() < PATIENCE, "nothing came");
            // The runtime's own threads serve the sockets meanwhile.
            self.heard = self.inbox.take_inputs(Duration::from_millis(10));
            self.heard.reverse();
            tokio::task::yield_now().await;
        }
        self.heard.pop().unwrap()
    }

    async fn event(&mut self) -> Event {
        match self.next().await {
            Input::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    async fn up(&mut self) -> (NodeId, u32, SendQueue) {
        match self.next().await {
            Input::Up { peer, boot, queue, .. } => (peer, boot.0, queue),
            other => panic!("{other:?}"),
        }
    }

    async fn until(&self, label: &str) {
        let begun = std::time::Instant::now();
        while self.metrics.handshakes_refused(label) == 0 {
            assert!(begun.elapsed() < PATIENCE, "no handshake was refused for {label}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn frame(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_frame(message, &mut bytes).unwrap();
    bytes
}

fn manager_and_worker() -> (Authority, Claims, Claims) {
    (Authority::new("c").unwrap(), claims(Role::Manager, "fra", "m1"), claims(Role::Worker, "fra", "w1"))
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_in_order_both_ways() {
    let (authority, m1, w1) = manager_and_worker();
    let mut manager = End::new(&authority, &m1, 4, vec![], &[]);
    let mut worker = End::new(&authority, &w1, 7, vec![manager.target(&m1)], &[&m1]);
    let (peer, boot, to_worker) = manager.up().await;
    assert_eq!((peer, boot), (w1.node(), 7));
    let (peer, boot, to_manager) = worker.up().await;
    assert_eq!((peer, boot), (m1.node(), 4));
    for token in 0..1_000 {
        assert!(to_worker.send(frame(&Message::Ping { token })));
        assert!(to_manager.send(frame(&Message::Pong {
            token,
            coordinate: None,
            condition: Default::default()
        })));
    }
    for token in 0..1_000 {
        let message = Box::new(Message::Ping { token });
        assert_eq!(worker.event().await, Event::Received { peer: m1.node(), message });
        let message = Box::new(Message::Pong { token, coordinate: None, condition: Default::default() });
        assert_eq!(manager.event().await, Event::Received { peer: w1.node(), message });
    }
    // What was queued before the node let go of the connection is still sent.
    assert!(to_manager.send(frame(&Message::Ping { token: 9 })));
    drop(to_manager);
    assert!(matches!(manager.event().await, Event::Received { .. }));
    assert_eq!(manager.event().await, Event::Disconnected { peer: w1.node() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_restarts_is_first_gone_and_then_back() {
    let (authority, m1, w1) = manager_and_worker();
    let mut manager = End::new(&authority, &m1, 1, vec![], &[]);
    let first = End::new(&authority, &w1, 1, vec![manager.target(&m1)], &[&m1]);
    let (_, boot, queue) = manager.up().await;
    assert_eq!(boot, 1);
    // The second life dials while the first one's connection still stands.
    let _second = End::new(&authority, &w1, 2, vec![manager.target(&m1)], &[&m1]);
    assert_eq!(manager.event().await, Event::Disconnected { peer: w1.node() });
    drop(queue);
    drop(first);
    loop {
        // The first life may have dialled again before it ended; the order of every pair is what counts.
        let (_, boot, _queue) = manager.up().await;
        if boot == 2 {
            break;
        }
        assert_eq!(manager.event().await, Event::Disconnected { peer: w1.node() });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greeting_that_differs_from_the_certificate_is_denied() {
    let (authority, m1, w1) = manager_and_worker();
    let manager = End::new(&authority, &m1, 1, vec![], &[]);
    let target = manager.target(&m1);
    let w2 = claims(Role::Worker, "fra", "w2");
    for (certificate, greeting) in [
        (&w1, hello(&w2, 1)),
        (&w1, hello(&claims(Role::Manager, "fra", "w1"), 1)),
        (&w1, Hello { cluster: "d".into(), ..hello(&w1, 1) }),
        (&w1, Hello { node: NodeId([7; 16]), ..hello(&w1, 1) }),
    ] {
        let refused = greeting::dial(&greeting, &tls(&authority, certificate), &target).await;
        assert!(matches!(refused, Err(NoGreeting::Refused(_))), "{:?}", refused.err());
    }
    assert_eq!(manager.metrics.handshakes_refused("denied"), 4);
    let heard: Vec<_> = manager.inbox.take_inputs(Duration::ZERO);
    assert_eq!(heard.len(), 4, "the node hears of each refusal, and nothing else");
    for (input, code) in heard.into_iter().zip([
        FaultCode::Unauthorized,
        FaultCode::Unauthorized,
        FaultCode::WrongCluster,
        FaultCode::Invalid,
    ]) {
        let refused = Event::GreetingRefused { peer: Some(w1.node()), code };
        assert!(matches!(&input, Input::Event(event) if *event == refused), "{input:?} for {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_certificate_in_the_wrong_place_is_denied() {
    let (authority, m1, _) = manager_and_worker();
    let manager = End::new(&authority, &m1, 1, vec![], &[]);
    let target = manager.target(&m1);
    let code =
        async |claims: &Claims| match greeting::dial(&hello(claims, 1), &tls(&authority, claims), &target)
            .await
        {
            Err(NoGreeting::Refused(fault)) => fault.code,
            other => panic!("{:?}", other.err()),
        };
    assert_eq!(code(&claims(Role::Worker, "ams", "w1")).await, FaultCode::RoleDenied, "another datacenter");
    let gate = claims(Role::Gate, "", "g1");
    assert_eq!(code(&gate).await, FaultCode::Unauthorized, "managers dial gates, never the other way");
    let unlisted =
        (0..).map(|n| claims(Role::Manager, "fra", &format!("x{n}"))).find(|x| x.node() < m1.node());
    assert_eq!(code(&unlisted.unwrap()).await, FaultCode::Unauthorized, "not in the configuration");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_than_the_one_dialled_is_denied() {
    let (authority, m1, w1) = manager_and_worker();
    let manager = End::new(&authority, &m1, 1, vec![], &[]);
    let wanted = Target { node: claims(Role::Manager, "fra", "m2").node(), ..manager.target(&m1) };
    let denied = greeting::dial(&hello(&w1, 1), &tls(&authority, &w1), &wanted).await;
    assert!(matches!(denied, Err(NoGreeting::Denied(..))), "{:?}", denied.err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_another_authority_is_refused_on_both_sides() {
    let (authority, m1, w1) = manager_and_worker();
    let manager = End::new(&authority, &m1, 1, vec![], &[]);
    let other = Authority::new("c").unwrap();
    let stranger = tls(&other, &w1);
    let refused = greeting::dial(&hello(&w1, 1), &stranger, &manager.target(&m1)).await;
    assert!(matches!(refused, Err(NoGreeting::Tls(_))), "the dialler: {:?}", refused.err());
    manager.until("tls").await;
    // A dialler that trusts the acceptor, but shows what the acceptor does not trust.
    let mixed = NodeTls::issued(&authority.certificate(), &other.issue(&w1).unwrap()).unwrap();
    let refused = greeting::dial(&hello(&w1, 1), &mixed, &manager.target(&m1)).await;
    assert!(matches!(refused, Err(NoGreeting::Tls(_))), "the acceptor: {:?}", refused.err());
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_port_is_counted_and_told() {
    let (authority, m1, _) = manager_and_worker();
    let mut manager = End::new(&authority, &m1, 1, vec![], &[]);
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &[0; 64], &[0xff; 4_096]] {
        let address = manager.address.clone();
        let bytes = bytes.to_vec();
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&bytes).unwrap();
            // An alert or nothing: the other end closes.
            let _ = stream.read_to_end(&mut Vec::new());
        })
        .await
        .unwrap();
        assert_eq!(manager.event().await, Event::Malformed { peer: None, why: Malformed::Frame });
    }
    assert_eq!(manager.metrics.handshakes_refused("garbage"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_of_a_proven_peer_is_its_own_and_ends_the_connection() {
    let (authority, m1, w1) = manager_and_worker();
    let mut manager = End::new(&authority, &m1, 1, vec![], &[]);
    let mut worker = End::new(&authority, &w1, 1, vec![manager.target(&m1)], &[&m1]);
    let _to_worker = manager.up().await;
    let (_, _, queue) = worker.up().await;
    let malformed = |why| Event::Malformed { peer: Some(w1.node()), why };
    // A whole frame whose body is no message costs that frame alone.
    let mut broken = frame(&Message::Ping { token: 1 });
    *broken.last_mut().unwrap() = 0xff;
    assert!(queue.send(broken));
    assert!(queue.send(frame(&Message::Ping { token: 2 })));
    assert_eq!(manager.event().await, malformed(Malformed::Body));
    assert!(matches!(manager.event().await, Event::Received { .. }));
    // A length that cannot be ends the connection.
    assert!(queue.send(vec![0xff; 64]));
    assert_eq!(manager.event().await, malformed(Malformed::TooLarge));
    assert_eq!(manager.event().await, Event::Disconnected { peer: w1.node() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_its_senders_role_may_not_send_ends_the_connection() {
    let (authority, m1, w1) = manager_and_worker();
    let mut manager = End::new(&authority, &m1, 1, vec![], &[]);
    let mut worker = End::new(&authority, &w1, 1, vec![manager.target(&m1)], &[&m1]);
    let _to_worker = manager.up().await;
    let (_, _, queue) = worker.up().await;
    assert!(queue.send(frame(&Message::ForgetAtWorker { jobs: vec![] })));
    let expected = Event::Malformed { peer: Some(w1.node()), why: Malformed::Role };
    assert_eq!(manager.event().await, expected);
    assert_eq!(manager.event().await, Event::Disconnected { peer: w1.node() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_read_loses_its_connection() {
    let (authority, m1, w1) = manager_and_worker();
    let mut manager = End::new(&authority, &m1, 1, vec![], &[]);
    // Greets, then never reads.
    let silent = greeting::dial(&hello(&w1, 1), &tls(&authority, &w1), &manager.target(&m1)).await;
    let silent = silent.unwrap_or_else(|why| panic!("{why}"));
    let (_, _, queue) = manager.up().await;
    let large = vec![0; 1024 * 1024];
    while queue.send(large.clone()) {
        tokio::task::yield_now().await;
    }
    assert_eq!(manager.event().await, Event::Disconnected { peer: w1.node() });
    assert_eq!(manager.metrics.connections_overrun.get(), 1);
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_datagrams_are_counted_and_a_sealed_packet_gets_through() {
    use std::sync::Arc;
    let receiver = Bound::new("127.0.0.1:0".parse().unwrap()).unwrap();
    let (sender, inbox) = Inbox::new(NodeClock::start());
    let metrics = Metrics::default();
    let ring = KeyRing::new(&[[3; 32]]);
    let opener = Opener::new(ring.clone(), "c".into());
    let task = tokio::spawn(receive_datagrams(Arc::new(receiver.udp), opener, sender, metrics.clone()));
    let mut end = EventsOf { inbox, events: Vec::new() };
    let me = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let node = claims(Role::Gate, "", "g1").node();
    let mut sealer = Sealer::new(&ring, "c", node, 1).unwrap();
    let mut forged = Sealer::new(&KeyRing::new(&[[4; 32]]), "c", node, 2).unwrap();
    let malformed = |peer, why| Event::Malformed { peer, why };
    let sealed = sealer.seal(&[1, 0xff]);
    for (datagram, expected) in [
        (vec![], malformed(None, Malformed::Frame)),
        (vec![0; 100], malformed(None, Malformed::Frame)),
        (vec![0; 2_000], malformed(None, Malformed::TooLarge)),
        (forged.seal(b"x"), malformed(None, Malformed::Seal)),
        (sealed.clone(), malformed(Some(node), Malformed::Body)),
        (sealed, malformed(None, Malformed::Replay)),
    ] {
        me.send_to(&datagram, receiver.addr).unwrap();
        assert_eq!(end.next().await, expected);
    }
    assert_eq!(metrics.datagrams_received.get(), 1);
    task.abort();
}

struct EventsOf {
    inbox: Inbox,
    events: Vec<Event>,
}

impl EventsOf {
    async fn next(&mut self) -> Event {
        let begun = std::time::Instant::now();
        while self.events.is_empty() {
            assert!(begun.elapsed() < PATIENCE, "nothing came");
            self.events = self.inbox.take_events(Duration::from_millis(10));
            self.events.reverse();
            tokio::task::yield_now().await;
        }
        self.events.pop().unwrap()
    }
}

/// A measurement for decision 0012, no test: it asserts nothing about time.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo test --release -p tidegate --lib -- --ignored --nocapture head_of_line"]
async fn head_of_line_delay_behind_the_largest_messages() {
    const ROUNDS: usize = 200;
    for (name, bytes) in
        [("nothing", 0), ("one part of an image, 256 KiB", 256 << 10), ("one frame, 1 MiB", 1 << 20)]
    {
        let (mut near, mut far) = loopback_tls().await;
        let reader = tokio::spawn(async move {
            let mut arrivals = Vec::new();
            let mut buffer = vec![0; bytes + 64];
            for _ in 0..ROUNDS {
                tokio::io::AsyncReadExt::read_exact(&mut far, &mut buffer).await.unwrap();
                arrivals.push(std::time::Instant::now());
                tokio::io::AsyncWriteExt::write_all(&mut far, &[1]).await.unwrap();
            }
            arrivals
        });
        let mut sent = Vec::new();
        for _ in 0..ROUNDS {
            sent.push(std::time::Instant::now());
            tokio::io::AsyncWriteExt::write_all(&mut near, &vec![0; bytes + 64]).await.unwrap();
            tokio::io::AsyncWriteExt::flush(&mut near).await.unwrap();
            tokio::io::AsyncReadExt::read_exact(&mut near, &mut [0]).await.unwrap();
        }
        let arrivals = reader.await.unwrap();
        let mut delays: Vec<_> = arrivals.iter().zip(&sent).map(|(arrived, sent)| *arrived - *sent).collect();
        delays.sort();
        println!("a heartbeat behind {name}: median {:?}, most {:?}", delays[ROUNDS / 2], delays[ROUNDS - 1]);
    }
}

/// Two ends of one mutual TLS connection, as two gates have it.
async fn loopback_tls()
-> (tokio_rustls::TlsStream<tokio::net::TcpStream>, tokio_rustls::TlsStream<tokio::net::TcpStream>) {
    let authority = Authority::new("c").unwrap();
    let [one, other] = ["g1", "g2"].map(|name| tls(&authority, &claims(Role::Gate, "", name)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let dialled = async {
        let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(one.client.clone());
        connector.connect(NodeTls::server_name(), tcp).await.unwrap()
    };
    let accepted = async {
        let (tcp, _) = listener.accept().await.unwrap();
        tokio_rustls::TlsAcceptor::from(other.server.clone()).accept(tcp).await.unwrap()
    };
    let (dialled, accepted) = tokio::join!(dialled, accepted);
    (dialled.into(), accepted.into())
}
