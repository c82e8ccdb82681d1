//! A connection's bytes, plain or under TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::failure::{Failure, IoKind};
use crate::jobfile::Origin;

/// One host and port, resolved, with what its TLS needs.
pub(super) struct Endpoint {
    pub origin: Origin,
    addrs: Vec<SocketAddr>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Endpoint {
    /// Resolves the name. The error is for a person.
    pub(super) async fn resolve(origin: &Origin, roots: Option<&Arc<RootCertStore>>) -> Result<Self, String> {
        let Origin { tls, host, port } = origin;
        let addrs: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), *port))
            .await
            .map_err(|error| format!("cannot resolve {host}: {error}"))?
            .collect();
        if addrs.is_empty() {
            return Err(format!("cannot resolve {host}: no address"));
        }
        let tls = if *tls {
            let name = ServerName::try_from(host.clone())
                .map_err(|_| format!("{host} cannot have a certificate"))?;
            Some((connector(roots)?, name))
        } else {
            None
        };
        Ok(Self { origin: origin.clone(), addrs, tls })
    }

    /// Connects; users begin at different addresses of the name.
    pub(super) async fn connect(&self, user: usize) -> Result<Stream, Failure> {
        let mut last = Failure::Connect(IoKind::Other);
        for at in 0..self.addrs.len() {
            match TcpStream::connect(self.addrs[(user + at) % self.addrs.len()]).await {
                Ok(tcp) => return self.secure(tcp).await,
                Err(error) => last = Failure::Connect(IoKind::of(&error)),
            }
        }
        Err(last)
    }

    async fn secure(&self, tcp: TcpStream) -> Result<Stream, Failure> {
        tcp.set_nodelay(true).map_err(|error| Failure::Connect(IoKind::of(&error)))?;
        match &self.tls {
            None => Ok(Stream::Plain(tcp)),
            Some((connector, name)) => match connector.connect(name.clone(), tcp).await {
                Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
                Err(_) => Err(Failure::Tls),
            },
        }
    }
}

fn connector(roots: Option<&Arc<RootCertStore>>) -> Result<TlsConnector, String> {
    let roots = match roots {
        Some(roots) => roots.clone(),
        None => Arc::new(system_roots()?),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be used: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn system_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err("this worker's system has no root certificates, which https needs".to_string());
    }
    Ok(roots)
}

/// Bytes in both directions.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, parts),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
