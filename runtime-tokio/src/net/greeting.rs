//! The handshake: TLS, then who speaks, proven by certificate.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tidegate_core::fault::{Fault, FaultCode};
use tidegate_core::id::NodeId;
use tidegate_core::wire::{Claims, Dialect, Hello, HelloAck, Malformed, dials};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::identity::{NodeTls, claims_of};
use super::links::Target;

/// Longest handshake, connecting included.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection whose other end is proven.
pub(super) struct Greeted {
    /// Who is there.
    pub(super) peer: Hello,
    /// What is spoken with it.
    pub(super) dialect: Dialect,
    /// The connection.
    pub(super) stream: TlsStream<TcpStream>,
    /// What came after the greeting already.
    pub(super) early: Vec<u8>,
}

/// Why a connection did not come up.
#[derive(Debug)]
pub(super) enum NoGreeting {
    /// Nothing answers there.
    Connect(io::Error),
    /// TLS failed: a certificate of another authority, none at all, or a broken connection.
    Tls(io::Error),
    /// Something that is no greeting came.
    Garbage(Option<NodeId>, Malformed),
    /// The other end is not who it should be, or may not connect: whom its certificate names, and why.
    Denied(Option<NodeId>, Fault),
    /// The other end refused.
    Refused(Fault),
    /// It took too long.
    Timeout,
}

impl NoGreeting {
    /// For counters.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Garbage(..) => "garbage",
            Self::Denied(..) => "denied",
            Self::Refused(_) => "refused",
            Self::Timeout => "timeout",
        }
    }
}

impl fmt::Display for NoGreeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Tls(error) => {
                write!(f, "no secure connection: {error}; both nodes need certificates of the same authority")
            }
            Self::Garbage(_, why) => write!(f, "no greeting came: {why:?}"),
            Self::Denied(_, fault) => write!(f, "denied: {fault}"),
            Self::Refused(fault) => write!(f, "the other node refuses: {fault}"),
            Self::Timeout => write!(f, "no greeting within {PATIENCE:?}"),
        }
    }
}

/// What went wrong inside TLS: bytes that are no TLS are garbage, everything else is a matter of trust.
fn tls_error(error: io::Error) -> NoGreeting {
    use rustls::Error::{InappropriateHandshakeMessage, InappropriateMessage, InvalidMessage};
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(InvalidMessage(_) | InappropriateMessage { .. } | InappropriateHandshakeMessage { .. }) => {
            NoGreeting::Garbage(None, Malformed::Frame)
        }
        _ => NoGreeting::Tls(error),
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, NoGreeting>>) -> Result<T, NoGreeting> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or(Err(NoGreeting::Timeout))
}

/// Connects to a node and greets it.
pub(super) async fn dial(me: &Hello, tls: &NodeTls, target: &Target) -> Result<Greeted, NoGreeting> {
    in_time(async {
        let tcp = TcpStream::connect(&target.address).await.map_err(NoGreeting::Connect)?;
        prepare(&tcp).map_err(NoGreeting::Connect)?;
        let connector = TlsConnector::from(Arc::clone(&tls.client));
        let stream = connector.connect(NodeTls::server_name(), tcp).await.map_err(tls_error)?;
        let mut stream = TlsStream::from(stream);
        stream.write_all(&greeting(me)).await.map_err(tls_error)?;
        stream.flush().await.map_err(tls_error)?;
        let claims = proven(&stream);
        let node = claims.as_ref().map(Claims::node);
        let (ack, early) = read_first(&mut stream, None, HelloAck::decode).await?;
        let peer = ack.answer.map_err(NoGreeting::Refused)?;
        let dialect = peer.judge(claims.as_ref(), me).map_err(|fault| NoGreeting::Denied(node, fault))?;
        if peer.node != target.node {
            let why = format!("{} was dialled, {} answers", target.name, peer.name);
            return Err(NoGreeting::Denied(node, Fault::new(FaultCode::Unauthorized, why)));
        }
        Ok(Greeted { peer, dialect, stream, early })
    })
    .await
}

/// Takes a connection up to the greeting; the answer is still to be given by [`welcome`] or [`refuse`].
pub(super) async fn accept(
    me: &Hello,
    tls: &NodeTls,
    tcp: TcpStream,
    is_known: impl Fn(&Hello) -> bool,
) -> Result<Greeted, NoGreeting> {
    in_time(async {
        prepare(&tcp).map_err(NoGreeting::Connect)?;
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.server));
        let mut stream = TlsStream::from(acceptor.accept(tcp).await.map_err(tls_error)?);
        let claims = proven(&stream);
        let node = claims.as_ref().map(Claims::node);
        let (peer, early) = read_first(&mut stream, node, Hello::decode).await?;
        let verdict = peer.judge(claims.as_ref(), me).and_then(|dialect| {
            let deny = |why: &str| Err(Fault::new(FaultCode::Unauthorized, why));
            if !dials((peer.role, peer.node), (me.role, me.node)) {
                deny("between these two nodes, the other one dials")
            } else if !is_known(&peer) {
                deny("this node's configuration does not list the peer")
            } else {
                Ok(dialect)
            }
        });
        match verdict {
            Ok(dialect) => Ok(Greeted { peer, dialect, stream, early }),
            Err(fault) => {
                refuse(&mut stream, fault.clone()).await;
                Err(NoGreeting::Denied(node, fault))
            }
        }
    })
    .await
}

/// Answers an accepted greeting with one's own.
pub(super) async fn welcome(me: &Hello, stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    stream.write_all(&answer(Ok(me.clone()))).await?;
    stream.flush().await
}

/// Says why not, as far as the other end listens.
async fn refuse(stream: &mut TlsStream<TcpStream>, fault: Fault) {
    let said = async {
        stream.write_all(&answer(Err(fault))).await?;
        stream.shutdown().await
    };
    if let Err(error) = said.await {
        tracing::debug!("a refusal was not delivered: {error}");
    }
}

fn greeting(me: &Hello) -> Vec<u8> {
    let mut bytes = Vec::new();
    me.encode(&mut bytes).expect("names are bounded by the configuration");
    bytes
}

fn answer(answer: Result<Hello, Fault>) -> Vec<u8> {
    let mut bytes = Vec::new();
    HelloAck { answer }.encode(&mut bytes).expect("names and details are bounded");
    bytes
}

/// What the other end's certificate says; `None` where it names no node. The chain has been checked by then.
fn proven(stream: &TlsStream<TcpStream>) -> Option<Claims> {
    let (_, session) = stream.get_ref();
    session.peer_certificates().and_then(<[CertificateDer<'_>]>::first).and_then(claims_of)
}

/// Reads the first frame of the other end, and whatever came with it.
async fn read_first<T>(
    stream: &mut (impl AsyncRead + Unpin),
    peer: Option<NodeId>,
    decode: impl Fn(&[u8]) -> Result<Option<(usize, T)>, Malformed>,
) -> Result<(T, Vec<u8>), NoGreeting> {
    let mut bytes = Vec::new();
    loop {
        match decode(&bytes) {
            Ok(Some((taken, first))) => return Ok((first, bytes.split_off(taken))),
            Ok(None) => {}
            Err(why) => return Err(NoGreeting::Garbage(peer, why)),
        }
        if stream.read_buf(&mut bytes).await.map_err(tls_error)? == 0 {
            return Err(NoGreeting::Tls(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// Small messages go at once; a silent peer is noticed after 30 s (`wire.keepalive`).
fn prepare(tcp: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    const PROBE: Duration = Duration::from_secs(10);
    const PROBES: u32 = 3;
    tcp.set_nodelay(true)?;
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_keepidle(tcp, PROBE)?;
    sockopt::set_tcp_keepintvl(tcp, PROBE)?;
    sockopt::set_tcp_keepcnt(tcp, PROBES)?;
    // Keep-alive rests while data waits to be acknowledged; this does not.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    sockopt::set_tcp_user_timeout(tcp, PROBE.as_millis() as u32 * PROBES)?;
    Ok(())
}
