//! The routes for operators.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tidegate_core::api::{Answer, Identity, Request};

use super::jobs::unexpected;
use super::{ApiState, Refusal, openapi};

/// `GET /v1/datacenters`
pub async fn datacenters(State(state): State<ApiState>, headers: HeaderMap) -> Result<Response, Refusal> {
    let identity = state.tokens.operator(&headers)?;
    match state.ask(identity, Request::Datacenters).await? {
        Answer::Datacenters(datacenters) => Ok(Json(datacenters).into_response()),
        Answer::Fault(fault) => Err(Refusal(fault)),
        other => Err(unexpected(&other)),
    }
}

/// `GET /v1/members`
pub async fn members(State(state): State<ApiState>, headers: HeaderMap) -> Result<Response, Refusal> {
    let identity = state.tokens.operator(&headers)?;
    match state.ask(identity, Request::Members).await? {
        Answer::Members(members) => Ok(Json(members).into_response()),
        Answer::Fault(fault) => Err(Refusal(fault)),
        other => Err(unexpected(&other)),
    }
}

/// `GET /v1/openapi.json`
pub async fn openapi() -> Response {
    Json(openapi::document()).into_response()
}

/// `GET /metrics`
pub async fn metrics(State(state): State<ApiState>) -> Response {
    let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, media)], state.metrics.encode()).into_response()
}

async fn own_membership(state: &ApiState) -> Result<Answer, Refusal> {
    let probe = Identity { tenant: "health".to_owned(), operator: true };
    state.ask(probe, Request::Members).await
}

/// `GET /healthz`: whatever the answer is, a machine that answers steps.
pub async fn healthz(State(state): State<ApiState>) -> Result<Response, Refusal> {
    own_membership(&state).await?;
    Ok("ok\n".into_response())
}

/// `GET /readyz`
pub async fn readyz(State(state): State<ApiState>) -> Response {
    let ready = match own_membership(&state).await {
        Ok(Answer::Members(members)) => {
            members.iter().any(|member| member.node == state.node && member.active)
        }
        _ => false,
    };
    if ready {
        "ready\n".into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: this gate holds no lease; it waits for a majority of the gates\n",
        )
            .into_response()
    }
}
