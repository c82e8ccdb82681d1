//! The HTTP API of a real gate, held against the document that it gives of itself.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::support::{Answer, Cluster, Http, alone};

const TENANT_TOKEN: &str = "the-shop-s-own-token";

/// Bounds that a test can reach, and a retention of what was cancelled that it can wait for.
const GATE: &str = r#"
[[api.tokens]]
tenant = "shop"
role = "tenant"
file = "../shop.token"

[limits]
jobs_per_tenant = 5
streams_per_job = 1

[timing]
retain_other = "1s"
"#;

fn cluster() -> Cluster {
    let mut cluster = Cluster::new(1, 1, 1, 1);
    fs::write(cluster.root().join("shop.token"), TENANT_TOKEN).unwrap();
    let path = cluster.config("gate-1");
    fs::write(&path, fs::read_to_string(&path).unwrap() + GATE).unwrap();
    cluster.start_all();
    cluster
}

const TOML: (&str, &str) = ("Content-Type", "application/toml");
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A job that sleeps for so long.
fn nap(time: &str) -> String {
    format!(
        "version = 1\nname = \"nap\"\n[[workflow]]\nname = \"nap\"\nsleep = {{ duration = \"{time}\" }}\n"
    )
}

/// Asks, and notes what the API has answered to which route.
struct Asked {
    operator: Http,
    seen: BTreeSet<(String, String, u16)>,
}

impl Asked {
    /// Asks a route about a job, and expects a status.
    fn expect(&mut self, status: u16, method: &str, route: &str, job: &str) -> Answer {
        self.expect_with(status, method, route, job, &[], b"")
    }

    fn expect_with(
        &mut self,
        status: u16,
        method: &str,
        route: &str,
        job: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let http = self.operator.clone();
        self.expect_from(&http, status, method, route, job, headers, body)
    }

    #[allow(clippy::too_many_arguments, reason = "a request, said in one line")]
    fn expect_from(
        &mut self,
        http: &Http,
        status: u16,
        method: &str,
        route: &str,
        job: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let answer = http.send(method, &route.replace("{id}", job), headers, body);
        assert_eq!(answer.status, status, "{method} {route} {job}: {answer:?} {}", answer.text());
        let route = route.split('?').next().unwrap();
        self.seen.insert((method.to_lowercase(), route.to_owned(), status));
        if status >= 400 && route != "/readyz" {
            let fault = answer.json();
            assert!(fault["code"].is_string() || fault["code"].is_object(), "{fault}");
            assert!(fault["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{fault}");
        }
        answer
    }

    fn submit(&mut self, time: &str) -> String {
        let answer = self.expect_with(201, "POST", "/v1/jobs", "", &[TOML], nap(time).as_bytes());
        answer.json()["job"].as_str().unwrap().to_owned()
    }
}

/// Method, path, status and media type of everything that the document promises.
fn promised(document: &Value) -> Vec<(String, String, u16, String)> {
    let mut all = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let media = match answer["content"].as_object() {
                    Some(content) => content.keys().next().unwrap().clone(),
                    None => String::new(),
                };
                all.push((method.clone(), path.clone(), status.parse().unwrap(), media));
            }
        }
    }
    all
}

#[test]
fn every_promise_of_the_document_is_kept_and_nothing_else_is_answered() {
    let _alone = alone();
    let cluster = cluster();
    let operator = cluster.gate(1);
    let document = operator.clone().without_token().get("/v1/openapi.json").json();
    let mut asked = Asked { operator, seen: BTreeSet::new() };
    let done = submissions(&mut asked);
    streams(&mut asked, &done);
    cancels(&mut asked, &done);
    identities(&mut asked, &document, &done);
    operations(&mut asked);
    full(&mut asked);
    not_ready(&mut asked);

    let promised = promised(&document);
    let routes: BTreeSet<_> =
        promised.iter().map(|(method, path, status, _)| (method.clone(), path.clone(), *status)).collect();
    assert_eq!(asked.seen, routes, "what was answered, and what the document says");
    for (method, path, status, media) in promised.iter().filter(|(.., status, _)| *status == 200) {
        let answer = asked.operator.send(&method.to_uppercase(), &path.replace("{id}", &done), &[], b"");
        let found = answer.header("content-type");
        let wanted = if path == "/metrics" { "application/openmetrics-text" } else { media.as_str() };
        assert!(found.starts_with(wanted) && answer.status == *status, "{method} {path}: {answer:?}");
    }
    others_are_refused(&asked.operator, &promised);
}

/// Submissions, good and bad. Gives a job that has completed.
fn submissions(asked: &mut Asked) -> String {
    let key = ("Idempotency-Key", "once");
    let first = asked.expect_with(201, "POST", "/v1/jobs", "", &[TOML, key], nap("100ms").as_bytes()).json();
    let json =
        r#"{"version": 1, "name": "nap", "workflow": [{"name": "nap", "sleep": {"duration": "100ms"}}]}"#;
    let again = asked.expect_with(201, "POST", "/v1/jobs", "", &[JSON, key], json.as_bytes()).json();
    assert_eq!((&again["job"], &again["repeated"]), (&first["job"], &Value::Bool(true)));
    let other = asked.expect_with(409, "POST", "/v1/jobs", "", &[TOML, key], nap("1s").as_bytes()).json();
    assert_eq!(other["code"], "conflict");

    let bad = |asked: &mut Asked, media, body: &str, wanted: &str| {
        let fault = asked.expect_with(400, "POST", "/v1/jobs", "", &[media], body.as_bytes()).json();
        assert!(fault["detail"].as_str().unwrap().contains(wanted), "{fault}");
    };
    bad(asked, TOML, &nap("1s").replace("name = \"nap\"\n[", "nmae = \"nap\"\n["), "line 2, column 1: ");
    bad(asked, TOML, &nap("1s").replace("\"1s\"", "7"), "line 5, column 22: ");
    bad(asked, TOML, &nap("1s").replace("[[workflow]]", "[[workflow"), "line 3, column ");
    bad(asked, JSON, "{\"version\": 1,\n \"name\": }", "line 2 column 10");
    bad(
        asked,
        JSON,
        &json.replace("\"name\": \"nap\", \"s", "\"nmae\": \"nap\", \"s"),
        "at `nmae = \"nap\"`: ",
    );
    bad(asked, ("Content-Type", "text/csv"), "a,b", "application/toml");
    bad(asked, ("Content-Type", "application/cbor"), "junk", "bad CBOR");

    // A job that no entry of the log can hold, and a body that is not even read.
    let large =
        nap("1s").replace("\"nap\"\nsleep", &format!("\"nap\"\nneeds = [{}]\nsleep", "\"nap\",".repeat(9)));
    bad(asked, TOML, &large, "nap");
    let many: String = (0..250)
        .map(|number| format!("[[workflow]]\nname = \"{number:0>128}\"\nsleep = {{ duration = \"1s\" }}\n"))
        .collect();
    let body = "x".repeat(40_000);
    let large = format!(
        "version = 1\nname = \"large\"\n{many}[[workflow]]\nname = \"w\"\n[workflow.http]\nvus = 1\n\
         duration = \"1s\"\n\
         requests = [{{ url = \"http://127.0.0.1:9/\", method = \"POST\", body = \"{body}\" }}]\n"
    );
    let fault = asked.expect_with(413, "POST", "/v1/jobs", "", &[TOML], large.as_bytes()).json();
    assert!(fault["detail"].as_str().unwrap().contains("64 KiB"), "{fault}");
    let announced = [TOML, ("Content-Length", "2000000")];
    let fault = asked.expect_with(413, "POST", "/v1/jobs", "", &announced, b"").json();
    assert!(fault["detail"].as_str().unwrap().contains("1048576 bytes"), "{fault}");
    first["job"].as_str().unwrap().to_owned()
}

/// The events of a stream: id and name.
fn events_of(answer: &Answer) -> Vec<(String, String)> {
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {block:?}")).trim().to_owned()
    };
    let text = answer.text();
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty() && !block.starts_with(':'));
    blocks.map(|block| (field(block, "id:"), field(block, "event:"))).collect()
}

fn is_kept(event: &(String, String)) -> bool {
    !matches!(event.1.as_str(), "progress" | "stats_window" | "gap")
}

/// Streams, whole and resumed, and the answers about a job that has ended.
fn streams(asked: &mut Asked, done: &str) {
    let route = "/v1/jobs/{id}/events";
    // The stream of a job ends with the job.
    let whole = events_of(&asked.expect(200, "GET", route, done));
    assert_eq!(whole.first().unwrap().1, "accepted", "{whole:?}");
    assert_eq!(whole.last().unwrap().1, "final", "{whole:?}");
    let (final_id, _) = whole.last().unwrap();
    let nothing = asked.expect_with(204, "GET", route, done, &[("Last-Event-ID", final_id)], b"");
    assert!(nothing.body.is_empty(), "{nothing:?}");
    for (place, (id, _)) in whole[..whole.len() - 1].iter().enumerate() {
        let rest = events_of(&asked.expect_with(200, "GET", route, done, &[("Last-Event-ID", id)], b""));
        let kept = |events: &[(String, String)]| {
            events.iter().filter(|event| is_kept(event)).cloned().collect::<Vec<_>>()
        };
        assert_eq!(kept(&rest), kept(&whole[place + 1..]), "resumed after {id}");
    }
    asked.expect_with(400, "GET", route, done, &[("Last-Event-ID", "yesterday")], b"");
    asked.expect_with(400, "GET", route, done, &[("Last-Event-ID", "999.1.0")], b"");
    asked.expect(404, "GET", route, &"0".repeat(32));

    let report = asked.expect(200, "GET", "/v1/jobs/{id}/result", done).json();
    assert_eq!(report["status"], "completed", "{report}");
    let view = asked.expect(200, "GET", "/v1/jobs/{id}", done).json();
    assert_eq!(view["status"], "completed", "{view}");
    for path in ["/v1/jobs/{id}", "/v1/jobs/{id}/result"] {
        asked.expect(404, "GET", path, &"0".repeat(32));
        asked.expect(404, "GET", path, "no-id-at-all");
    }
    let list = asked.expect(200, "GET", "/v1/jobs", "").json();
    assert_eq!(list["jobs"][0]["job"], done, "{list}");
    asked.expect(400, "GET", "/v1/jobs?limit=many", "");
    asked.expect(400, "GET", "/v1/jobs?color=blue", "");
}

/// Cancels, and what is left of a cancelled job when its retention has ended.
fn cancels(asked: &mut Asked, done: &str) {
    let route = "/v1/jobs/{id}";
    let job = asked.submit("60s");
    // It runs: no result yet, and no second stream while there is room for one only.
    let answer = asked.expect(503, "GET", "/v1/jobs/{id}/result", &job);
    assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1, "{answer:?}");
    let reading = asked.operator.stream(&format!("/v1/jobs/{job}/events"));
    asked.expect(503, "GET", "/v1/jobs/{id}/events", &job);
    drop(reading);

    asked.expect(400, "DELETE", "/v1/jobs/{id}?why=so", &job);
    assert_eq!(asked.expect(202, "DELETE", "/v1/jobs/{id}?reason=enough", &job).json()["state"], "requested");
    let again = asked.operator.send("DELETE", &format!("/v1/jobs/{job}"), &[], b"");
    assert!(matches!(again.status, 202 | 410), "{again:?}");
    asked.expect(404, "DELETE", route, &"0".repeat(32));
    let fault = asked.expect(409, "DELETE", route, done).json();
    assert_eq!(fault["code"]["already_terminal"], "completed", "{fault}");

    // A result that nobody has acknowledged is kept for longer.
    asked.operator.until(&format!("/v1/jobs/{job}/result"), |answer| answer.status == 200);
    let events = events_of(&asked.expect(200, "GET", "/v1/jobs/{id}/events", &job));
    let (last, _) = events.last().unwrap();
    asked.expect_with(204, "GET", "/v1/jobs/{id}/events", &job, &[("Last-Event-ID", last)], b"");
    asked.operator.until(&format!("/v1/jobs/{job}"), |answer| answer.status == 410);
    for (method, path) in [("GET", ""), ("DELETE", ""), ("GET", "/events"), ("GET", "/result")] {
        let fault = asked.expect(410, method, &format!("{route}{path}"), &job).json();
        assert_eq!(fault["code"], "expired");
    }
}

/// Tokens: none, unknown, a tenant's.
fn identities(asked: &mut Asked, document: &Value, done: &str) {
    let (nobody, stranger) =
        (asked.operator.clone().without_token(), asked.operator.clone().with_token("stranger"));
    let tenant = asked.operator.clone().with_token(TENANT_TOKEN);
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let method = method.to_uppercase();
            if operation["security"].is_null() {
                let answer = nobody.send(&method, path, &[], b"");
                assert_eq!(answer.status, 200, "{method} {path} needs no token: {answer:?}");
                continue;
            }
            for http in [&nobody, &stranger] {
                let answer = asked.expect_from(http, 401, &method, path, done, &[TOML], b"");
                assert_eq!(answer.header("www-authenticate"), "Bearer");
            }
        }
    }
    for path in ["/v1/datacenters", "/v1/members"] {
        assert_eq!(asked.expect_from(&tenant, 403, "GET", path, "", &[], b"").json()["code"], "role_denied");
    }
    // A tenant sees its own jobs and no trace of others.
    for (method, path) in [("GET", ""), ("DELETE", ""), ("GET", "/events"), ("GET", "/result")] {
        asked.expect_from(&tenant, 404, method, &format!("/v1/jobs/{{id}}{path}"), done, &[], b"");
    }
    assert_eq!(tenant.get("/v1/jobs").json()["jobs"], Value::Array(Vec::new()));
    let own = tenant.send("POST", "/v1/jobs", &[TOML], nap("100ms").as_bytes()).json();
    assert_eq!(tenant.get("/v1/jobs").json()["jobs"][0]["job"], own["job"]);
    assert_eq!(tenant.get("/v1/jobs").json()["jobs"][0]["tenant"], "shop");
}

/// What operators and their tools look at.
fn operations(asked: &mut Asked) {
    let datacenters = asked.expect(200, "GET", "/v1/datacenters", "").json();
    assert_eq!((&datacenters[0]["dc"], &datacenters[0]["usable"]), (&"dc-1".into(), &true.into()));
    let members = asked.expect(200, "GET", "/v1/members", "").json();
    assert_eq!((&members[0]["name"], &members[0]["active"]), (&"gate-1".into(), &true.into()));
    assert_eq!(asked.expect(200, "GET", "/healthz", "").text(), "ok\n");
    assert_eq!(asked.expect(200, "GET", "/readyz", "").text(), "ready\n");
    asked.expect(200, "GET", "/v1/openapi.json", "");
    assert!(asked.expect(200, "GET", "/", "").text().starts_with("<!doctype html>"));
    let metrics = asked.expect(200, "GET", "/metrics", "").text();
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    let accepted = "tidegate_observations_total{kind=\"JobAccepted\"} ";
    let counted = metrics.lines().find_map(|line| line.strip_prefix(accepted)).expect(&metrics);
    assert!(counted.parse::<u32>().unwrap() >= 3, "{counted}");
}

/// A full queue refuses, says when to come again, and has lost nothing of what it took.
fn full(asked: &mut Asked) {
    let mut taken = Vec::new();
    let refused = loop {
        let answer = asked.operator.send("POST", "/v1/jobs", &[TOML], nap("60s").as_bytes());
        match answer.status {
            201 => taken.push(answer.json()["job"].as_str().unwrap().to_owned()),
            _ => break answer,
        }
        assert!(taken.len() <= 5, "the bound is 5");
    };
    assert_eq!((refused.status, &refused.json()["code"]), (503, &"overloaded".into()), "{refused:?}");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() >= 1, "{refused:?}");
    asked.seen.insert(("post".into(), "/v1/jobs".into(), 503));
    assert!(!taken.is_empty());
    for job in taken {
        asked.expect(200, "GET", "/v1/jobs/{id}", &job);
    }
}

/// A gate without the majority of its tier is healthy, but not ready.
fn not_ready(asked: &mut Asked) {
    let mut cluster = Cluster::new(3, 1, 1, 1);
    cluster.start("gate-1");
    let gate = cluster.gate(1);
    let answer = asked.expect_from(&gate, 503, "GET", "/readyz", "", &[], b"");
    assert!(answer.text().contains("waits for a majority of the gates"), "{answer:?}");
    assert_eq!(gate.get("/healthz").status, 200);
    let answer = asked.expect_from(&gate, 503, "POST", "/v1/jobs", "", &[TOML], nap("1s").as_bytes());
    assert_eq!(answer.json()["code"], "not_ready");
}

/// What the document does not list is no route.
fn others_are_refused(http: &Http, promised: &[(String, String, u16, String)]) {
    for path in promised.iter().map(|(_, path, ..)| path).collect::<BTreeSet<_>>() {
        for method in ["get", "post", "put", "patch", "delete"] {
            if !promised.iter().any(|(known, of, ..)| (known.as_str(), of) == (method, path)) {
                let answer =
                    http.send(&method.to_uppercase(), &path.replace("{id}", &"0".repeat(32)), &[], b"");
                assert_eq!(answer.status, 405, "{method} {path}: {answer:?}");
            }
        }
    }
    let answer = http.get("/v1/job");
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("/v1/openapi.json"), "{answer:?}");
}
