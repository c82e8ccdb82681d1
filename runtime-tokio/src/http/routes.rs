//! The one table of routes: the router is built from it, and so is the OpenAPI document.

use axum::routing::{MethodFilter, MethodRouter, on};

use super::{ApiState, jobs, ops, page};

/// Which token a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// None.
    Open,
    /// Any; it shows the jobs of its tenant.
    Tenant,
    /// An operator's.
    Operator,
}

/// One route.
pub struct Route {
    /// `get`, `post` or `delete`.
    pub method: &'static str,
    /// The path, with `{id}` for a job.
    pub path: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Which token is needed, where tokens are configured.
    pub access: Access,
    /// What a success answers: status and schema name.
    pub answer: (u16, &'static str),
    /// Whether a success may also be 204, without a body.
    pub or_nothing: bool,
    /// The statuses of refusals. A gate that ends, or breaks, may answer 503 or 500 to anything.
    pub refusals: &'static [u16],
    /// Who handles it.
    pub handler: fn(MethodFilter) -> MethodRouter<ApiState>,
}

/// Every route of a gate.
pub const ROUTES: &[Route] = &[
    Route {
        method: "post",
        path: "/v1/jobs",
        summary: "Submit a job. Repeat safely with the header Idempotency-Key.",
        access: Access::Tenant,
        answer: (201, "Submitted"),
        or_nothing: false,
        refusals: &[400, 401, 409, 413, 503],
        handler: |method| on(method, jobs::submit),
    },
    Route {
        method: "get",
        path: "/v1/jobs",
        summary: "Jobs by id; go on with ?after=ID, at most ?limit=200.",
        access: Access::Tenant,
        answer: (200, "Jobs"),
        or_nothing: false,
        refusals: &[400, 401],
        handler: |method| on(method, jobs::list),
    },
    Route {
        method: "get",
        path: "/v1/jobs/{id}",
        summary: "How a job stands.",
        access: Access::Tenant,
        answer: (200, "JobView"),
        or_nothing: false,
        refusals: &[401, 404, 410],
        handler: |method| on(method, jobs::status),
    },
    Route {
        method: "delete",
        path: "/v1/jobs/{id}",
        summary: "Record a cancel (?reason=TEXT). The end comes as an event.",
        access: Access::Tenant,
        answer: (202, "Cancel"),
        or_nothing: false,
        refusals: &[400, 401, 404, 409, 410],
        handler: |method| on(method, jobs::cancel),
    },
    Route {
        method: "get",
        path: "/v1/jobs/{id}/events",
        summary: "The job's events, as server-sent events; resume with the header Last-Event-ID. 204 after the final event: it \
                  acknowledges the result, which is kept until then, for a day at most.",
        access: Access::Tenant,
        answer: (200, "EventStream"),
        or_nothing: true,
        refusals: &[400, 401, 404, 410, 503],
        handler: |method| on(method, jobs::events),
    },
    Route {
        method: "get",
        path: "/v1/jobs/{id}/result",
        summary: "The final result, until retention ends.",
        access: Access::Tenant,
        answer: (200, "Report"),
        or_nothing: false,
        refusals: &[401, 404, 410, 503],
        handler: |method| on(method, jobs::result),
    },
    Route {
        method: "get",
        path: "/v1/datacenters",
        summary: "For operators: the datacenters as this gate sees them.",
        access: Access::Operator,
        answer: (200, "Datacenters"),
        or_nothing: false,
        refusals: &[401, 403],
        handler: |method| on(method, ops::datacenters),
    },
    Route {
        method: "get",
        path: "/v1/members",
        summary: "For operators: the gates as this gate sees them.",
        access: Access::Operator,
        answer: (200, "Members"),
        or_nothing: false,
        refusals: &[401, 403],
        handler: |method| on(method, ops::members),
    },
    Route {
        method: "get",
        path: "/v1/openapi.json",
        summary: "This document.",
        access: Access::Open,
        answer: (200, "OpenApi"),
        or_nothing: false,
        refusals: &[],
        handler: |method| on(method, ops::openapi),
    },
    Route {
        method: "get",
        path: "/metrics",
        summary: "Counters and gauges in the OpenMetrics text format.",
        access: Access::Open,
        answer: (200, "Text"),
        or_nothing: false,
        refusals: &[],
        handler: |method| on(method, ops::metrics),
    },
    Route {
        method: "get",
        path: "/healthz",
        summary: "200 while the process steps.",
        access: Access::Open,
        answer: (200, "Text"),
        or_nothing: false,
        refusals: &[],
        handler: |method| on(method, ops::healthz),
    },
    Route {
        method: "get",
        path: "/readyz",
        summary: "200 while the gate takes jobs, else 503 with the reason.",
        access: Access::Open,
        answer: (200, "Text"),
        or_nothing: false,
        refusals: &[503],
        handler: |method| on(method, ops::readyz),
    },
    Route {
        method: "get",
        path: "/",
        summary: "A page that shows the cluster and its jobs live.",
        access: Access::Open,
        answer: (200, "Html"),
        or_nothing: false,
        refusals: &[],
        handler: |method| on(method, page::index),
    },
];
