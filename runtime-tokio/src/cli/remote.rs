//! Talking to a gate over HTTP: one connection a request, plain on loopback, TLS elsewhere.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use tidegate_core::fault::Fault;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A gate that does not accept a connection by then counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A call that is not answered by then counts as lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Largest answer that is read.
const MAX_ANSWER: usize = 64 << 20;

/// Why a call has no answer.
#[derive(Debug)]
pub enum CallError {
    /// No gate heard it, or the connection broke: whether it took effect is unknown.
    Unreachable(String),
    /// The gate refused it.
    Refused(Box<Fault>),
    /// What came back is no answer of this API.
    Strange(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => f.write_str(why),
            Self::Refused(fault) => write!(f, "{fault}"),
            Self::Strange(why) => write!(f, "not an answer of a gate: {why}"),
        }
    }
}

/// One gate's address, as the user gave it.
#[derive(Clone)]
pub struct Gate {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    token: Option<String>,
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", if self.tls.is_some() { "https" } else { "http" }, self.host, self.port)
    }
}

/// How gates are reached.
#[derive(Clone, Default)]
pub struct Access {
    /// The bearer token.
    pub token: Option<String>,
    /// Trusted authority for `https`.
    pub roots: Option<Arc<ClientConfig>>,
}

impl Access {
    /// Reads the authority that `https` gates are checked against.
    pub fn new(token: Option<String>, ca: Option<&Path>) -> Result<Self, String> {
        let roots = ca.map(read_roots).transpose()?;
        Ok(Self { token, roots })
    }
}

fn read_roots(path: &Path) -> Result<Arc<ClientConfig>, String> {
    let wrong = |why: String| format!("{}: {why}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("holds no certificate".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| wrong(error.to_string()))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

impl Gate {
    /// Reads `http://host:port` or `https://host:port`.
    pub fn parse(url: &str, access: &Access) -> Result<Self, String> {
        let wrong =
            |why: &str| format!("{url:?}: {why}; a gate is given as http://host:port or https://host:port");
        let uri: http::Uri = url.parse().map_err(|_| wrong("not a URL"))?;
        let host = uri.host().ok_or_else(|| wrong("no host"))?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().ok_or_else(|| wrong("no port"))?;
        let tls = match uri.scheme_str() {
            Some("http") => None,
            Some("https") => Some(access.roots.clone().ok_or_else(|| wrong("https needs --ca FILE"))?),
            _ => return Err(wrong("no scheme")),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("it has a path"));
        }
        Ok(Self { host, port, tls, token: access.token.clone() })
    }

    /// Sends a request and waits for the head of its answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, CallError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, format!("{}:{}", self.host, self.port));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(known) = request.headers_mut() {
            known.extend(headers);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| CallError::Strange(format!("the request cannot be made: {error}")))?;
        let lost = |error: &dyn fmt::Display| CallError::Unreachable(format!("{self}: {error}"));
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await;
        let stream =
            connected.map_err(|_| lost(&"no connection within 5 s"))?.map_err(|error| lost(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| lost(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a gate ended");
            }
        });
        match tokio::time::timeout(ANSWER_TIMEOUT, sender.send_request(request)).await {
            Ok(answer) => answer.map_err(|error| lost(&error)),
            Err(_) => Err(lost(&"no answer within 15 s")),
        }
    }

    /// Sends a request whose answer is JSON.
    pub async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<T, CallError> {
        let (status, bytes) = collect(self.send(method, path, headers, body).await?).await?;
        if status.is_success() {
            serde_json::from_slice(&bytes).map_err(|error| CallError::Strange(error.to_string()))
        } else {
            Err(refusal(status, &bytes))
        }
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Box::new(tcp)),
            Some(config) => {
                let name = ServerName::try_from(self.host.clone()).map_err(std::io::Error::other)?;
                Ok(Box::new(TlsConnector::from(Arc::clone(config)).connect(name, tcp).await?))
            }
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Reads a whole answer.
pub async fn collect(answer: Response<Incoming>) -> Result<(StatusCode, Bytes), CallError> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect();
    match tokio::time::timeout(ANSWER_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok((status, body.to_bytes())),
        Ok(Err(error)) => Err(CallError::Unreachable(format!("the answer broke off: {error}"))),
        Err(_) => Err(CallError::Unreachable("the answer did not come whole within 15 s".to_owned())),
    }
}

/// The refusal in an answer that is no success.
pub fn refusal(status: StatusCode, body: &[u8]) -> CallError {
    match serde_json::from_slice::<Fault>(body) {
        Ok(fault) => CallError::Refused(Box::new(fault)),
        Err(_) => CallError::Strange(format!("status {status}")),
    }
}
