//! Why a request failed, without anything that varies from one to the next: what reports count by. Never holds a URL,
//! a header or a body.

use std::fmt;
use std::io;

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failure {
    /// The response has a status that the checks do not allow.
    Status(u16),
    /// It took longer than its timeout.
    Timeout,
    /// The connection could not be made.
    Connect(IoKind),
    /// TLS was refused, by either side.
    Tls,
    /// The connection broke before the response was complete.
    Broken(IoKind),
    /// What came back is not HTTP/1.1.
    BadResponse,
    /// The request could not be written as HTTP.
    BadRequest,
}

/// Kinds of trouble with sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum IoKind {
    Refused,
    Reset,
    Closed,
    TimedOut,
    Unreachable,
    AddressInUse,
    NoFiles,
    Other,
}

impl IoKind {
    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Self::Reset,
            io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotConnected => {
                Self::Closed
            }
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Unreachable,
            io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable => Self::AddressInUse,
            _ if is_out_of_files(error) => Self::NoFiles,
            _ => Self::Other,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Closed => "closed early",
            Self::TimedOut => "timed out",
            Self::Unreachable => "unreachable",
            Self::AddressInUse => "no free local port",
            Self::NoFiles => "too many open files",
            Self::Other => "i/o error",
        }
    }
}

fn is_out_of_files(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
        .iter()
        .any(|errno| Some(errno.raw_os_error()) == code)
}

impl Failure {
    /// What an error of the HTTP library means.
    pub(super) fn of(error: &hyper::Error) -> Self {
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            if let Some(io) = inner.downcast_ref::<io::Error>() {
                return Self::Broken(IoKind::of(io));
            }
            cause = inner.source();
        }
        if error.is_parse() || error.is_parse_status() || error.is_parse_too_large() {
            Self::BadResponse
        } else if error.is_user() {
            Self::BadRequest
        } else {
            Self::Broken(IoKind::Closed)
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(code) => write!(f, "status {code}"),
            Self::Timeout => f.write_str("timeout"),
            Self::Connect(kind) => write!(f, "connect: {}", kind.as_str()),
            Self::Tls => f.write_str("tls: refused"),
            Self::Broken(kind) => write!(f, "connection: {}", kind.as_str()),
            Self::BadResponse => f.write_str("response: not HTTP/1.1"),
            Self::BadRequest => f.write_str("request: not HTTP/1.1"),
        }
    }
}
