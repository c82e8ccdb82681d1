//! The membership machine alone, over UDP: who is there, told on standard output.
//!
//! ```sh
//! cargo run -p tidegate-core --example swim_udp -- 127.0.0.1:7001 127.0.0.1:7001
//! cargo run -p tidegate-core --example swim_udp -- 127.0.0.1:7002 127.0.0.1:7001
//! cargo run -p tidegate-core --example swim_udp -- 127.0.0.1:7003 127.0.0.1:7001
//! ```
//!
//! First its own address, then those of members to join. Datagrams here are not sealed: a program for others to reach
//! has to authenticate them, as Tidegate's own runtime does.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_core::config::Peer;
use tidegate_core::id::{BootNo, NodeId, Role};
use tidegate_core::swim::{Addr, Rules, Swim, SwimConfig};
use tidegate_core::wire::{MAX_PACKET, decode_packet, encode_packet};
use tidegate_core::{Duration, Effect, Effects, Instant, Now, Observation};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let addresses =
        std::env::args().skip(1).map(|text| text.parse()).collect::<Result<Vec<SocketAddr>, _>>()?;
    let [own, join @ ..] = &addresses[..] else { return Err("usage: swim_udp OWN_ADDRESS MEMBER...".into()) };
    let socket = UdpSocket::bind(own)?;

    // A start has to outrank all earlier ones under this name. Where no counter is kept on disk, the time serves.
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let boot = BootNo((since_epoch.as_secs() / 4) as u32);
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(&since_epoch.as_nanos().to_le_bytes());
    seed[16..18].copy_from_slice(&own.port().to_le_bytes());
    let config = SwimConfig {
        node: name_of(own),
        addr: to_core(own),
        role: Role::Gate,
        boot,
        rules: Rules::ours(Duration::from_secs(1), Duration::from_millis(500)),
        seeds: join
            .iter()
            .map(|at| Peer { node: name_of(at), name: at.to_string(), addr: to_core(at) })
            .collect(),
    };
    let mut swim = Swim::new(config, seed);

    let begin = std::time::Instant::now();
    let now = || Now { mono: Instant::from_nanos(begin.elapsed().as_nanos() as u64), ..Now::default() };
    let mut out = Effects::new();
    swim.start(now(), &mut out);
    let mut bytes = [0; MAX_PACKET + 1];
    loop {
        perform(&socket, &mut out)?;
        for (node, status) in swim.changes() {
            let live = swim.listed() + 1;
            println!("{:>8.3} s  {node} is {status:?}; {live} members", begin.elapsed().as_secs_f64());
        }
        let wait = swim.wake_at().unwrap_or(Instant::FAR_FUTURE).since(now().mono);
        let wait =
            std::time::Duration::from_nanos(wait.as_nanos()).clamp(MOMENT, std::time::Duration::from_secs(1));
        socket.set_read_timeout(Some(wait))?;
        match socket.recv_from(&mut bytes) {
            Ok((length, from)) => match decode_packet(&bytes[..length]) {
                // What is due goes first: a process that slept must not take news for proof.
                Ok(packet) => {
                    swim.wake(now(), &mut out);
                    swim.receive(now(), to_core(&from), packet, &mut out);
                }
                Err(why) => eprintln!("not a packet, from {from}: {why:?}"),
            },
            Err(why)
                if matches!(why.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                swim.wake(now(), &mut out);
            }
            // The peer of an earlier datagram is gone: membership finds that out by itself.
            Err(why) if why.kind() == std::io::ErrorKind::ConnectionRefused => {}
            Err(why) => return Err(why.into()),
        }
    }
}

/// A read timeout of zero would mean none.
const MOMENT: std::time::Duration = std::time::Duration::from_micros(100);

fn perform(socket: &UdpSocket, out: &mut Effects) -> std::io::Result<()> {
    for effect in out.drain(..) {
        match effect {
            Effect::SendDatagram { to, packet } => {
                let bytes =
                    encode_packet(&packet).map_err(|why| std::io::Error::other(format!("{why:?}")))?;
                // A datagram that cannot be sent is one that was lost.
                if let Err(why) = socket.send_to(&bytes, (Ipv6Addr::from(to.ip).to_canonical(), to.port)) {
                    eprintln!("not sent: {why}");
                }
            }
            Effect::Observe(Observation::Refuted) => println!("others suspected this node; it refuted"),
            _ => {}
        }
    }
    Ok(())
}

/// Names belong to addresses here; with a name of its own a member may move.
fn name_of(at: &SocketAddr) -> NodeId {
    NodeId::derive("swim_udp", Role::Gate, "", &at.to_string())
}

fn to_core(at: &SocketAddr) -> Addr {
    let ip = match at.ip() {
        std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        std::net::IpAddr::V6(ip) => ip,
    };
    Addr { ip: ip.octets(), port: at.port() }
}
