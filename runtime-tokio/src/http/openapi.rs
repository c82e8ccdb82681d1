//! The OpenAPI document, made from the table of routes.

use serde_json::{Map, Value, json};

use super::routes::{Access, ROUTES};

/// The document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let mut parameters = Vec::new();
        if route.path.contains("{id}") {
            parameters
                .push(json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}));
        }
        for (name, place) in extra_parameters(route.method, route.path) {
            parameters
                .push(json!({"name": name, "in": place, "required": false, "schema": {"type": "string"}}));
        }
        let (status, schema) = route.answer;
        let media = match schema {
            "EventStream" => "text/event-stream",
            "Text" => "text/plain",
            "Html" => "text/html",
            _ => "application/json",
        };
        let mut responses = Map::new();
        responses.insert(status.to_string(), json!({"description": schema, "content": {media: {}}}));
        if route.or_nothing {
            responses.insert(
                "204".into(),
                json!({"description": "Nothing follows: the client has read everything"}),
            );
        }
        for refusal in route.refusals {
            responses.insert(refusal.to_string(), refused(*refusal, schema == "Text"));
        }
        let mut operation =
            json!({"summary": route.summary, "parameters": parameters, "responses": responses});
        if route.method == "post" {
            operation["requestBody"] = json!({
                "required": true,
                "description": "A job file, as JSON or as TOML; or, as CBOR, the specification compiled from one",
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/JobFile"}},
                    "application/toml": {},
                    "application/cbor": {},
                },
            });
        }
        if route.access != Access::Open {
            operation["security"] = json!([{"token": []}]);
        }
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Tidegate", "version": env!("CARGO_PKG_VERSION"), "license": {"name": "MIT OR Apache-2.0"}},
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "JobFile": job_file_schema(),
                "Fault": {
                    "type": "object",
                    "required": ["code", "retry_after_ms", "detail"],
                    "properties": {
                        "code": {"description": "The kind of refusal."},
                        "retry_after_ms": {"type": "integer", "description": "0: repeating is of no use."},
                        "owner": {"type": ["string", "null"], "description": "The node to ask instead."},
                        "detail": {"type": "string", "description": "What is wrong and what would be right."},
                    },
                },
            },
        },
    })
}

/// How a refusal with this status is described.
fn refused(status: u16, as_text: bool) -> Value {
    let description = match status {
        400 => "The request breaks a rule; the detail says which, and what would be right",
        401 => "No token, or an unknown one",
        403 => "The token may not do this",
        404 => "No such job that this token may see",
        409 => "The job has ended, or the key belongs to another job file",
        410 => "The job existed; its retention has ended",
        413 => "The body, or the job in it, is too large",
        _ => "Not now, or not by this gate: ask again after Retry-After, or another gate",
    };
    if as_text {
        return json!({"description": description, "content": {"text/plain": {}}});
    }
    let fault = json!({"$ref": "#/components/schemas/Fault"});
    json!({"description": description, "content": {"application/json": {"schema": fault}}})
}

fn job_file_schema() -> Value {
    serde_json::to_value(schemars::schema_for!(crate::jobfile::JobFile)).unwrap_or_default()
}

fn extra_parameters(method: &str, path: &str) -> &'static [(&'static str, &'static str)] {
    match (method, path) {
        ("post", "/v1/jobs") => &[("Idempotency-Key", "header")],
        ("get", "/v1/jobs") => &[("after", "query"), ("limit", "query")],
        ("delete", "/v1/jobs/{id}") => &[("reason", "query")],
        ("get", "/v1/jobs/{id}/events") => &[("Last-Event-ID", "header")],
        _ => &[],
    }
}
