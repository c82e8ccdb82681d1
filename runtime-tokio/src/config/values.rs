//! Values that a configuration may hold, each checked where it stands.

use std::fmt;
use std::net::SocketAddr;

use serde::de::{Deserialize, Deserializer, Error};
use tidegate_core::Duration;
use tidegate_core::id::DcId;

/// A span of time, as `"250ms"`, `"10s"`, `"5m"` or `"2h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is no span of time; write a whole number and ms, s, m or h, as in \"250ms\"")
        };
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        let ms = number.checked_mul(unit_ms).filter(|&ms| ms <= 30 * 24 * 3_600_000);
        let ms = ms.ok_or_else(|| format!("{text:?} is longer than 30 days"))?;
        Ok(Self(Duration::from_millis(ms)))
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

/// Whether this may name a cluster or a node: it stands in a certificate's URI and in file names.
pub fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('.')
}

/// The name of a cluster or a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(pub String);

impl std::str::FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "{text:?} is no name; 1 to 64 of a-z, A-Z, 0-9, '-', '_' and '.', not beginning with '.'"
            ))
        }
    }
}

/// The name of a datacenter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DcName(pub DcId);

impl std::str::FromStr for DcName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |_| format!("{text:?} names no datacenter; 1 to 24 of a-z, 0-9 and '-'");
        DcId::new(text).map(Self).map_err(wrong)
    }
}

/// Where a node is reached: `host:port` or `[v6]:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(pub String);

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no address; write host:port, as in \"gate-1.example.org:7600\"");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port_fits = port.parse::<u16>().is_ok_and(|port| port > 0);
        let host_fits = !host.is_empty()
            && !host.contains(char::is_whitespace)
            && (text.parse::<SocketAddr>().is_ok() || !host.contains(':'));
        if port_fits && host_fits { Ok(Self(text.to_owned())) } else { Err(wrong()) }
    }
}

/// Where a node listens: an address of its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            format!("{text:?} is no address to listen on; write IP:port, as in \"127.0.0.1:7600\" or \"0.0.0.0:7600\"")
        })
    }
}

macro_rules! from_string {
    ($($name:ident)+) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )+};
}
from_string!(Span Name DcName Address Listen);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_number_and_a_unit() {
        let ms = |text: &str| text.parse::<Span>().map(|span| span.0.as_millis());
        assert_eq!(ms("250ms"), Ok(250));
        assert_eq!(ms("10s"), Ok(10_000));
        assert_eq!(ms("5m"), Ok(300_000));
        assert_eq!(ms("2h"), Ok(7_200_000));
        for bad in ["", "10", "s", "-1s", "1.5s", "1 s", "1d", "99999999999999999999s", "9999999h"] {
            assert!(ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for good in ["127.0.0.1:80", "[::1]:7600", "gate-1.example.org:7600"] {
            assert!(good.parse::<Address>().is_ok(), "{good}");
        }
        for bad in ["", "host", ":80", "host:", "host:0", "host:70000", "::1:80", "a b:80"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
