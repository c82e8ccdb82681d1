//! Addresses and listening sockets.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use tidegate_core::swim::Addr;

/// How often a port that the system chose for TCP is given up since UDP has it already taken.
const PORT_TRIES: usize = 16;

/// A node's two sockets: TCP and UDP on one address and port.
#[derive(Debug)]
pub struct Bound {
    /// Takes connections.
    pub tcp: TcpListener,
    /// Takes datagrams.
    pub udp: UdpSocket,
    /// Where both listen.
    pub addr: SocketAddr,
}

impl Bound {
    /// Binds both. With port 0 the system chooses one that is free for both.
    pub fn new(addr: SocketAddr) -> Result<Self, BindError> {
        let mut last = None;
        for _ in 0..if addr.port() == 0 { PORT_TRIES } else { 1 } {
            let tcp = TcpListener::bind(addr).map_err(|error| BindError { addr, proto: "TCP", error })?;
            let bound = tcp.local_addr().map_err(|error| BindError { addr, proto: "TCP", error })?;
            match UdpSocket::bind(bound) {
                Ok(udp) => {
                    let both = tcp.set_nonblocking(true).and_then(|()| udp.set_nonblocking(true));
                    both.map_err(|error| BindError { addr: bound, proto: "TCP and UDP", error })?;
                    return Ok(Self { tcp, udp, addr: bound });
                }
                Err(error) => last = Some(BindError { addr: bound, proto: "UDP", error }),
            }
        }
        Err(last.expect("at least one try was made"))
    }
}

/// A port that cannot be had.
#[derive(Debug)]
pub struct BindError {
    addr: SocketAddr,
    proto: &'static str,
    error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {} ({}): {}", self.addr, self.proto, self.error)?;
        match self.error.kind() {
            io::ErrorKind::AddrInUse => {
                f.write_str("; another process uses the port, perhaps this very node")
            }
            io::ErrorKind::AddrNotAvailable => f.write_str("; `listen` must be an address of this machine"),
            io::ErrorKind::PermissionDenied => f.write_str("; ports below 1024 need a privilege"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for BindError {}

/// The core's form of an address: IPv4 as mapped IPv6.
pub fn to_addr(addr: SocketAddr) -> Addr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    Addr { ip: ip.octets(), port: addr.port() }
}

/// The system's form of an address.
pub fn to_socket(addr: Addr) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::from(addr.ip).to_canonical(), addr.port)
}

/// The first address of a name (`host:port`), asked again for up to `patience` while there is none.
pub async fn resolve(name: &str, patience: Duration) -> io::Result<SocketAddr> {
    let begun = tokio::time::Instant::now();
    loop {
        let error = match tokio::net::lookup_host(name).await {
            Ok(mut found) => match found.next() {
                Some(addr) => return Ok(addr),
                None => io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
            },
            Err(error) => error,
        };
        if begun.elapsed() >= patience {
            return Err(io::Error::new(error.kind(), format!("cannot resolve {name:?}: {error}")));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_said_clearly() {
        let first = Bound::new("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = Bound::new(first.addr).unwrap_err().to_string();
        assert!(
            error.contains(&first.addr.to_string()) && error.contains("another process uses the port"),
            "{error}"
        );
    }

    #[test]
    fn addresses_survive_the_core() {
        for text in ["127.0.0.1:80", "[::1]:9", "[2001:db8::7]:65535"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(to_socket(to_addr(addr)), addr);
        }
    }
}
