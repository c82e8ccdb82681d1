//! A plan made ready for sending: secrets filled in, names resolved, and everything that is the same for every request
//! built once. Holds secrets, so none of it can be printed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;

use super::stream::Endpoint;
use crate::exec::fill::Filled;
use crate::exec::policy::{Policy, Secrets};
use crate::jobfile::{HttpPlan, Origin, RequestPlan, Template};

/// What an iteration sends, and where to.
pub(super) struct Prepared {
    pub requests: Vec<PreparedRequest>,
    pub endpoints: Vec<Endpoint>,
    pub keep_alive: bool,
}

/// One request, but for what the virtual user and the iteration change.
pub(super) struct PreparedRequest {
    /// Which endpoint.
    pub endpoint: usize,
    pub timeout: Duration,
    method: Method,
    uri: OrFilled<Uri>,
    headers: HeaderMap,
    filled_headers: Vec<(HeaderName, Filled)>,
    body: OrFilled<Bytes>,
    status: Vec<(u16, u16)>,
}

/// The same for every request, or filled in for each.
enum OrFilled<T> {
    Fixed(T),
    Filled(Filled),
}

impl Prepared {
    /// Fills in secrets and resolves names. The error is for a person and holds no secret.
    pub(super) async fn new(plan: &HttpPlan, policy: &Policy) -> Result<Self, String> {
        let mut endpoints: Vec<Endpoint> = Vec::new();
        let mut requests = Vec::new();
        for request in &plan.requests {
            let endpoint = match endpoints.iter().position(|known| known.origin == request.origin) {
                Some(known) => known,
                None => {
                    endpoints.push(endpoint(&request.origin, policy).await?);
                    endpoints.len() - 1
                }
            };
            requests.push(PreparedRequest::new(request, endpoint, plan.keep_alive, &policy.secrets)?);
        }
        if requests.is_empty() {
            return Err("the plan has no requests".to_string());
        }
        Ok(Self { requests, endpoints, keep_alive: plan.keep_alive })
    }
}

async fn endpoint(origin: &Origin, policy: &Policy) -> Result<Endpoint, String> {
    if !policy.allows(origin) {
        return Err(format!("this worker's configuration does not allow the target {}", origin.authority()));
    }
    Endpoint::resolve(origin, policy.roots.as_ref()).await
}

impl PreparedRequest {
    fn new(plan: &RequestPlan, endpoint: usize, keep_alive: bool, secrets: &Secrets) -> Result<Self, String> {
        let method = plan.method.parse().map_err(|_| "the plan has a method that is none".to_string())?;
        let path = Filled::new(&plan.path, secrets)?;
        // What is right with the longest numbers is right with every user's.
        let sample: Uri = path.text(u32::MAX, u64::MAX).parse().map_err(|_| unfit("the path", &plan.path))?;
        let body = Filled::new(&plan.body, secrets)?;
        let mut prepared = Self {
            endpoint,
            timeout: Duration::from_millis(plan.timeout_ms.into()),
            method,
            uri: if path.is_fixed() { OrFilled::Fixed(sample) } else { OrFilled::Filled(path) },
            headers: standard_headers(&plan.origin, keep_alive)?,
            filled_headers: Vec::new(),
            body: if body.is_fixed() {
                OrFilled::Fixed(body.text(0, 0).into())
            } else {
                OrFilled::Filled(body)
            },
            status: plan.status.clone(),
        };
        for (name, template) in &plan.headers {
            let name: HeaderName =
                name.parse().map_err(|_| "the plan has a header that is none".to_string())?;
            let value = Filled::new(template, secrets)?;
            let sample = HeaderValue::from_str(&value.text(u32::MAX, u64::MAX))
                .map_err(|_| unfit(&format!("the header {name}"), template))?;
            if value.is_fixed() {
                prepared.headers.insert(name, sample);
            } else {
                prepared.headers.remove(&name);
                prepared.filled_headers.push((name, value));
            }
        }
        Ok(prepared)
    }

    /// The request as one user sends it in one iteration.
    pub(super) fn build(&self, vu: u32, iter: u64) -> Request<Full<Bytes>> {
        let body = match &self.body {
            OrFilled::Fixed(body) => body.clone(),
            OrFilled::Filled(body) => body.text(vu, iter).into(),
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = match &self.uri {
            OrFilled::Fixed(uri) => uri.clone(),
            OrFilled::Filled(path) => path.text(vu, iter).parse().expect("digits keep a path valid"),
        };
        *request.headers_mut() = self.headers.clone();
        for (name, value) in &self.filled_headers {
            let value = HeaderValue::from_str(&value.text(vu, iter)).expect("digits keep a header valid");
            request.headers_mut().insert(name.clone(), value);
        }
        request
    }

    /// Whether a response with this status is good.
    pub(super) fn accepts(&self, status: u16) -> bool {
        self.status.iter().any(|(low, high)| (*low..=*high).contains(&status))
    }
}

fn standard_headers(origin: &Origin, keep_alive: bool) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let host = HeaderValue::from_str(&origin.authority()).map_err(|_| "the plan has a host that is none")?;
    headers.insert(header::HOST, host);
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("tidegate/", env!("CARGO_PKG_VERSION"))),
    );
    if !keep_alive {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(headers)
}

/// A secret's value does not fit where the template puts it. Names the secrets, never their values.
fn unfit(place: &str, template: &Template) -> String {
    let names: Vec<&str> = template
        .0
        .iter()
        .filter_map(|piece| match piece {
            crate::jobfile::Piece::Secret(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    format!("{place} cannot hold what is in its secrets ({})", names.join(", "))
}

/// Shared by the users of a shard.
pub(super) type SharedPlan = Arc<Prepared>;
