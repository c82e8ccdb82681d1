//! Faults as HTTP answers.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tidegate_core::fault::{Fault, FaultCode};

/// A refusal on its way to a client.
pub struct Refusal(pub Fault);

impl Refusal {
    /// A refusal that the API itself gives.
    pub fn new(code: FaultCode, detail: impl Into<String>) -> Self {
        Self(Fault::new(code, detail))
    }
}

/// The HTTP status of a refusal (`nodes-and-protocol` 2.2).
pub fn status(code: FaultCode) -> StatusCode {
    use FaultCode::{
        AlreadyTerminal, BadBody, BadFrame, Conflict, DeadlineExceeded, Draining, Expired, Infeasible,
        Internal, Invalid, NoCapacity, NoDatacenter, NoQuorum, NotLeader, NotOwner, NotReady, Overloaded,
        RateLimited, RoleDenied, StaleEpoch, TooLarge, Unauthorized, UnknownJob, UnknownShard,
        UnknownWorkflow, UnsupportedVersion, WrongCluster,
    };
    match code {
        BadFrame | BadBody | Invalid | Infeasible | UnsupportedVersion | WrongCluster => {
            StatusCode::BAD_REQUEST
        }
        Unauthorized => StatusCode::UNAUTHORIZED,
        RoleDenied => StatusCode::FORBIDDEN,
        UnknownJob | UnknownWorkflow | UnknownShard => StatusCode::NOT_FOUND,
        Conflict | AlreadyTerminal(_) => StatusCode::CONFLICT,
        Expired => StatusCode::GONE,
        StaleEpoch => StatusCode::PRECONDITION_FAILED,
        TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Overloaded | NotReady | NotOwner | NotLeader | NoQuorum | NoCapacity | NoDatacenter | Draining => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = status(self.0.code);
        let retry_s = self.0.retry_after_ms.div_ceil(1_000);
        let mut response = (status, Json(self.0)).into_response();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_s.max(1)));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
