//! Listening: plain on loopback, TLS anywhere.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tidegate_core::api::Identity;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::{ApiState, Tokens, router};
use crate::config::ApiSettings;
use crate::roles::RunningNode;

/// Most connections at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 10_000;
/// A client that has not finished its handshake or its headers by then is dropped.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the API of a running gate as its configuration says. The text of an error is for the operator.
pub async fn open(settings: &ApiSettings, node: &RunningNode) -> Result<JoinHandle<()>, String> {
    let mut tokens = Tokens::default();
    for token in &settings.tokens {
        let secret = token.source.read().map_err(|why| format!("api.tokens: {why}"))?;
        tokens.add(&secret, Identity { tenant: token.tenant.clone(), operator: token.operator });
    }
    let tls = settings.tls.as_ref().map(|(chain, key)| server_tls(chain, key)).transpose()?;
    let listener =
        Listener::bind(settings.listen, tls, !tokens.is_empty()).await.map_err(|error| error.to_string())?;
    let state =
        ApiState { node: node.node(), gate: node.api(), tokens: Arc::new(tokens), metrics: node.metrics() };
    Ok(tokio::spawn(serve(listener, router(state))))
}

fn server_tls(chain: &Path, key: &Path) -> Result<Arc<rustls::ServerConfig>, String> {
    let wrong = |path: &Path, error: &dyn std::fmt::Display| format!("api.tls: {}: {error}", path.display());
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(chain, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(chain, &error))?
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .map(Arc::new)
        .map_err(|error| wrong(chain, &error))
}

/// A bound socket of the API.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Listener {
    /// Binds. Without TLS only a loopback address is taken: there is no plain mode on a network.
    pub async fn bind(
        addr: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
        has_tokens: bool,
    ) -> io::Result<Self> {
        if !addr.ip().is_loopback() && (tls.is_none() || !has_tokens) {
            let what = "an API off loopback needs TLS and tokens: set api.tls and api.tokens, or listen on 127.0.0.1";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let tcp = TcpListener::bind(addr).await.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen for the API on {addr}: {error}"))
        })?;
        Ok(Self { tcp, tls })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Serves until the task is dropped.
pub async fn serve(listener: Listener, router: Router) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let acceptor = listener.tls.map(TlsAcceptor::from);
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.tcp.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the API could not accept a connection");
                // Out of descriptors: accepting again at once would spin until some are closed.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (router, acceptor) = (router.clone(), acceptor.clone());
        tokio::spawn(async move {
            let _permit = permit;
            connection(stream, acceptor, router).await;
        });
    }
}

async fn connection(stream: TcpStream, acceptor: Option<TlsAcceptor>, router: Router) {
    // Events must leave when they happen; without this option a refusal only costs latency.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let served = match acceptor {
        None => builder.serve_connection(TokioIo::new(stream), service).await,
        Some(acceptor) => match tokio::time::timeout(HEADER_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => builder.serve_connection(TokioIo::new(stream), service).await,
            Ok(Err(error)) => return tracing::debug!(%error, "a client's TLS handshake failed"),
            Err(_) => return tracing::debug!("a client's TLS handshake took too long"),
        },
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a client's connection ended");
    }
}
