//! The HTTP API of a gate: `/v1`, server-sent events, metrics, health, and a page for people.
//!
//! Input: HTTP requests. Output: calls to the gate's machine, and its answers as JSON. It keeps no state of its own and
//! decides nothing but who may call (tokens) and what is no request at all (sizes, bad JSON, unknown paths).

mod auth;
mod body;
mod error;
mod jobs;
mod openapi;
mod ops;
mod page;
pub mod routes;
mod server;
pub mod sse;

pub use auth::Tokens;
pub use body::COMPILED;
pub use error::{Refusal, status as status_of};
pub use openapi::document as openapi_document;
pub use server::{Listener, open, serve};

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::MethodFilter;
use tidegate_core::fault::FaultCode;

use tidegate_core::api::{Answer, Identity, Request};
use tidegate_core::id::NodeId;

use crate::driver::{ApiHandle, Metrics, NodeGone, Reply};

/// Largest request body, in bytes: that of a frame between nodes.
pub const MAX_BODY: usize = 1 << 20;

/// What every handler needs.
#[derive(Clone)]
pub struct ApiState {
    /// The gate's id.
    pub node: NodeId,
    /// The gate.
    pub gate: ApiHandle,
    /// Who may call.
    pub tokens: Arc<Tokens>,
    /// The node's counters.
    pub metrics: Metrics,
}

impl ApiState {
    /// Asks the gate something that has one answer.
    async fn ask(&self, identity: Identity, request: Request) -> Result<Answer, Refusal> {
        match self.gate.call(identity, request).await {
            Ok(Reply::Answer(answer)) => Ok(answer),
            Ok(Reply::Stream(_)) => {
                Err(Refusal::new(FaultCode::Internal, "the gate opened a stream unasked"))
            }
            Err(NodeGone) => Err(gone()),
        }
    }
}

/// What a client hears while the gate's process ends.
fn gone() -> Refusal {
    Refusal::new(FaultCode::Draining, "this gate is shutting down; ask another one")
}

/// The router of a gate's API.
pub fn router(state: ApiState) -> Router {
    let mut router = Router::new();
    for route in routes::ROUTES {
        let method = match route.method {
            "post" => MethodFilter::POST,
            "delete" => MethodFilter::DELETE,
            _ => MethodFilter::GET,
        };
        router = router.route(route.path, (route.handler)(method));
    }
    router
        .fallback(|| async {
            Refusal::new(FaultCode::UnknownJob, "no such path; GET /v1/openapi.json lists them")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(state)
}
