//! The requests of an `http` workflow: URLs, headers, bodies.

use http::HeaderName;
use http::HeaderValue;
use http::uri::PathAndQuery;

use super::compile::Compiler;
use super::plan::{Origin, RequestPlan};
use super::source::Step;
use super::template::{Piece, Template};
use super::types::{Http, HttpRequest};

/// Most requests of an iteration.
const MAX_REQUESTS: usize = 64;
/// Most headers of a request.
const MAX_HEADERS: usize = 64;
/// Headers that the connection sets.
const MANAGED: [&str; 6] =
    ["connection", "content-length", "keep-alive", "te", "transfer-encoding", "upgrade"];

/// Compiles all requests of a workflow; problems go to the compiler.
pub(super) fn compile(compiler: &mut Compiler<'_>, path: &[Step<'_>], http: &Http) -> Vec<RequestPlan> {
    if http.requests.is_empty() || http.requests.len() > MAX_REQUESTS {
        let message = format!("an iteration of {} requests", http.requests.len());
        compiler.problem(path, message, "1 to 64 tables [[workflow.http.requests]]");
    }
    let mut plans = Vec::new();
    for (at, request) in http.requests.iter().enumerate() {
        let timeout_ms = request.timeout.unwrap_or(http.timeout).as_millis();
        plans.extend(one(compiler, &[path, &[Step::Index(at)]].concat(), request, timeout_ms));
    }
    plans
}

fn one(
    compiler: &mut Compiler<'_>,
    path: &[Step<'_>],
    request: &HttpRequest,
    timeout_ms: u32,
) -> Option<RequestPlan> {
    let url_path = [path, &[Step::Key("url")]].concat();
    let url = compiler.template(&url_path, &request.url, true);
    let target = url.and_then(|url| match divide_url(&url) {
        Ok(parts) => Some(parts),
        Err(message) => {
            compiler.problem(&url_path, message, "as in http://127.0.0.1:8080/path?x=1 or {{target}}/path");
            None
        }
    });
    let headers = headers(compiler, &[path, &[Step::Key("headers")]].concat(), request);
    let body_path = [path, &[Step::Key("body")]].concat();
    let body = match &request.body {
        None => Some(Template::default()),
        Some(text) => compiler.template(&body_path, text, true),
    };
    if request.body.is_some() && matches!(request.method.0, http::Method::GET | http::Method::HEAD) {
        let message = format!("a {} request with a body", request.method.0);
        compiler.problem(&body_path, message, "set method = \"POST\", or take the body away");
    }
    let (origin, path) = target?;
    Some(RequestPlan {
        method: request.method.0.to_string(),
        origin,
        path,
        headers,
        body: body?,
        status: request.checks.status.0.clone(),
        timeout_ms,
    })
}

fn headers(compiler: &mut Compiler<'_>, path: &[Step<'_>], request: &HttpRequest) -> Vec<(String, Template)> {
    if request.headers.len() > MAX_HEADERS {
        compiler.problem(path, "more than 64 headers", "");
    }
    let mut headers: Vec<(String, Template)> = Vec::new();
    for (name, text) in &request.headers {
        let path = [path, &[Step::Key(name)]].concat();
        let lower = name.to_ascii_lowercase();
        if HeaderName::from_bytes(lower.as_bytes()).is_err() {
            compiler.problem(&path, format!("{name:?} cannot be a header's name"), "letters, digits and -");
        } else if MANAGED.contains(&lower.as_str()) {
            let help = "the connection sets it; see keep_alive";
            compiler.problem(&path, format!("the header {name:?} cannot be set"), help);
        } else if headers.iter().any(|(known, _)| *known == lower) {
            compiler.problem(
                &path,
                format!("the header {lower:?} is set twice"),
                "upper and lower case are alike",
            );
        }
        let Some(value) = compiler.template(&path, text, true) else { continue };
        let fixed_is_good = value.0.iter().all(|piece| match piece {
            Piece::Text(text) => HeaderValue::from_str(text).is_ok(),
            _ => true,
        });
        if !fixed_is_good {
            compiler.problem(&path, "a header's value has no line breaks and no control characters", "");
        }
        headers.push((lower, value));
    }
    headers
}

/// Divides a URL into its fixed origin and the template of path and query.
fn divide_url(url: &Template) -> Result<(Origin, Template), String> {
    let Some((Piece::Text(first), rest)) = url.0.split_first() else {
        return Err(
            "scheme, host and port of a URL are fixed: they cannot come from vu, iter or a secret".into()
        );
    };
    let after_scheme = first.find("://").map_or(0, |at| at + 3);
    let path_at = first[after_scheme..].find(['/', '?', '#']).map(|at| after_scheme + at);
    if path_at.is_none() && !rest.is_empty() {
        return Err(
            "scheme, host and port of a URL are fixed: a `/` must come before the first placeholder".into()
        );
    }
    let (origin, path) = first.split_at(path_at.unwrap_or(first.len()));
    let origin = Origin::parse(origin)?;
    let lead = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
    let mut pieces = vec![Piece::Text(lead)];
    pieces.extend(rest.iter().cloned());
    let path = Template(pieces);
    // Placeholders as digits: what they become is checked where they are filled in.
    let sample: String =
        path.0.iter().map(|piece| if let Piece::Text(text) = piece { text } else { "0" }).collect();
    if sample.contains('#') {
        return Err("a `#` in a URL never reaches a server".into());
    }
    PathAndQuery::try_from(sample).map_err(|_| {
        "the path has characters that a URL cannot hold: write them in percent form, a space as %20"
            .to_string()
    })?;
    Ok((origin, path))
}
