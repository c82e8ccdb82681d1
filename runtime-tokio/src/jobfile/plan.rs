//! What a workflow's payload holds: everything that its executor must know and the core need not. Written by the job
//! file's compiler, read by the executors, JSON in between. It is stored and replicated, so no secret is in it.

use serde::{Deserialize, Serialize};

use super::template::Template;

/// The plan of one workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// HTTP load.
    Http(HttpPlan),
    /// A process.
    Command(CommandPlan),
    /// Nothing but time.
    Sleep,
}

impl Plan {
    /// As bytes of a payload.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a plan has only strings as keys")
    }

    /// From the bytes of a payload. The error is for a person.
    pub fn decode(payload: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(payload).map_err(|error| format!("the payload is no plan: {error}"))
    }
}

/// What one iteration of a virtual user does, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpPlan {
    /// In order; at least one.
    pub requests: Vec<RequestPlan>,
    /// Whether connections are kept for the next request.
    pub keep_alive: bool,
    /// Open model: how long an arrival may wait for a virtual user.
    pub start_within_ms: u32,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestPlan {
    /// The method, in capitals.
    pub method: String,
    /// Where to.
    pub origin: Origin,
    /// Path and query; begins with `/`.
    pub path: Template,
    /// Names in lower case.
    pub headers: Vec<(String, Template)>,
    /// Empty for none.
    pub body: Template,
    /// Inclusive ranges of codes that count as ok.
    pub status: Vec<(u16, u16)>,
    /// It fails after this.
    pub timeout_ms: u32,
}

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// Whether it is `https`.
    pub tls: bool,
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Origin {
    /// Reads `http://host[:port]`, with nothing behind it. The error says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (tls, authority) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => {
                return Err(format!(
                    "{text:?} is not a URL that can be used: write http://host/ or https://host/"
                ));
            }
        };
        if authority.contains('@') {
            return Err("a URL with a user name: send an `authorization` header instead".to_string());
        }
        if authority.is_empty() {
            return Err("a URL without a host".to_string());
        }
        let authority: http::uri::Authority =
            authority.parse().map_err(|_| format!("{authority:?} is no host with a port"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_string();
        let port = match authority.port() {
            None if authority.as_str().ends_with(':') => return Err("a `:` without a port".to_string()),
            None if authority.as_str().len() > authority.host().len() => {
                return Err(format!("{authority:?} has no port that can be used: 1 to 65535"));
            }
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(port) if port.as_u16() == 0 => return Err("port 0 cannot be reached".to_string()),
            Some(port) => port.as_u16(),
        };
        if host.is_empty() {
            return Err("a URL without a host".to_string());
        }
        Ok(Self { tls, host, port })
    }

    /// As a `host` header has it: without the scheme's own port.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == if self.tls { 443 } else { 80 } { host } else { format!("{host}:{}", self.port) }
    }
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandPlan {
    /// The program and its arguments; at least one.
    pub argv: Vec<Template>,
    /// Its environment, beside what every command gets.
    pub env: Vec<(String, Template)>,
    /// How many cores it was given.
    pub cores: u16,
}
