//! The one table of routes: the router is built from it, and so is the OpenAPI document.

use axum::routing::{MethodFilter, MethodRouter, on};

use super::{ApiState, jobs, ops, page};

/// One route.
pub struct Route {
    /// `get`, `post` or `delete`.
    pub method: &'static str,
    /// The path, with `{id}` for a job.
    pub path: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Whether a token is needed where tokens are configured.
    pub authorized: bool,
    /// What a success answers: status and schema name.
    pub answer: (u16, &'static str),
    /// Who handles it.
    pub handler: fn(MethodFilter) -> MethodRouter<ApiState>,
}

/// Every route of a gate.
pub const ROUTES: &[Route] = &[
    Route {
        method: "post",
        path: "/v1/jobs",
        summary: "Submit a job. Repeat safely with the header Idempotency-Key.",
        authorized: true,
        answer: (201, "Submitted"),
        handler: |method| on(method, jobs::submit),
    },
    Route {
        method: "get",
        path: "/v1/jobs",
        summary: "Jobs by id; go on with ?after=ID, at most ?limit=200.",
        authorized: true,
        answer: (200, "Jobs"),
        handler: |method| on(method, jobs::list),
    },
    Route {
        method: "get",
        path: "/v1/jobs/{id}",
        summary: "How a job stands.",
        authorized: true,
        answer: (200, "JobView"),
        handler: |method| on(method, jobs::status),
    },
    Route {
        method: "delete",
        path: "/v1/jobs/{id}",
        summary: "Record a cancel (?reason=TEXT). The end comes as an event.",
        authorized: true,
        answer: (202, "Cancel"),
        handler: |method| on(method, jobs::cancel),
    },
    Route {
        method: "get",
        path: "/v1/jobs/{id}/events",
        summary: "The job's events, as server-sent events; resume with the header Last-Event-ID. 204 after the final event: it \
                  acknowledges the result, which is kept until then, for a day at most.",
        authorized: true,
        answer: (200, "EventStream"),
        handler: |method| on(method, jobs::events),
    },
    Route {
        method: "get",
        path: "/v1/jobs/{id}/result",
        summary: "The final result, until retention ends.",
        authorized: true,
        answer: (200, "Report"),
        handler: |method| on(method, jobs::result),
    },
    Route {
        method: "get",
        path: "/v1/datacenters",
        summary: "The datacenters as this gate sees them.",
        authorized: true,
        answer: (200, "Datacenters"),
        handler: |method| on(method, ops::datacenters),
    },
    Route {
        method: "get",
        path: "/v1/members",
        summary: "The gates as this gate sees them.",
        authorized: true,
        answer: (200, "Members"),
        handler: |method| on(method, ops::members),
    },
    Route {
        method: "get",
        path: "/v1/openapi.json",
        summary: "This document.",
        authorized: false,
        answer: (200, "OpenApi"),
        handler: |method| on(method, ops::openapi),
    },
    Route {
        method: "get",
        path: "/metrics",
        summary: "Counters and gauges in the OpenMetrics text format.",
        authorized: false,
        answer: (200, "Text"),
        handler: |method| on(method, ops::metrics),
    },
    Route {
        method: "get",
        path: "/healthz",
        summary: "200 while the process steps.",
        authorized: false,
        answer: (200, "Text"),
        handler: |method| on(method, ops::healthz),
    },
    Route {
        method: "get",
        path: "/readyz",
        summary: "200 while the gate takes jobs, else 503 with the reason.",
        authorized: false,
        answer: (200, "Text"),
        handler: |method| on(method, ops::readyz),
    },
    Route {
        method: "get",
        path: "/",
        summary: "A page that shows the cluster and its jobs live.",
        authorized: false,
        answer: (200, "Html"),
        handler: |method| on(method, page::index),
    },
];
