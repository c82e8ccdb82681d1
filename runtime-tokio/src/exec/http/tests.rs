use std::net::TcpListener;

use tidegate_core::jobs::{ExecEvent, Outcome, StopMode};

use crate::exec::testing::{Bench, Server, Told, http, shard};
use crate::exec::{Policy, Secrets};

fn quick() -> Policy {
    Policy { sample: std::time::Duration::from_millis(20), ..Policy::default() }
}

/// What holds for every load that was not killed.
fn check_sums(told: &Told) {
    let totals = &told.totals;
    assert_eq!(totals.latency.count(), totals.requests(), "every request that ended has a latency");
    assert_eq!(totals.errors.iter().map(|error| error.count).sum::<u64>(), totals.err);
    let in_windows: u64 = told.windows.iter().map(|window| window.ok + window.err).sum();
    assert_eq!(in_windows, totals.requests(), "windows lose nothing");
    for window in &told.windows {
        assert_eq!(window.latency.count(), window.ok + window.err);
    }
}

#[test]
fn the_closed_model_counts_what_the_server_counts() {
    let server = Server::start();
    let load = "vus = 5, duration = \"600ms\", cores = 2";
    let told = Bench::new(quick()).run(http(load, &server.url("/ok")));
    assert_eq!((told.outcome, told.why.as_str()), (Outcome::Completed, ""));
    assert!(told.started && !told.progress.is_empty());
    assert!(told.totals.ok > 0);
    assert_eq!((told.totals.ok, told.totals.err, told.totals.dropped), (server.requests(), 0, 0));
    assert_eq!(told.totals.bytes_in, 2 * told.totals.ok);
    assert_eq!(told.totals.service.count(), told.totals.ok);
    assert_eq!(server.connections(), 5, "each user keeps its connection");
    assert_eq!(told.totals.vu_ms, 5 * 600, "all users were active all the time");
    check_sums(&told);
}

#[test]
fn the_open_model_accounts_for_every_arrival() {
    let server = Server::start();
    let load = "vus = 8, rate = 300, duration = \"700ms\", cores = 3";
    let told = Bench::new(quick()).run(http(load, &server.url("/ok")));
    assert_eq!(told.outcome, Outcome::Completed);
    assert_eq!(told.totals.ok + told.totals.dropped, 210);
    assert_eq!((told.totals.ok, told.totals.err), (server.requests(), 0));
    assert!(told.totals.elapsed_ms >= 700, "it lasts as long as planned");
    check_sums(&told);
}

#[test]
fn a_stall_shows_in_the_latency_of_all_arrivals_behind_it() {
    let server = Server::start();
    let load = "vus = 1, rate = 100, start_within = \"30s\", duration = \"500ms\"";
    let told = Bench::new(quick()).run(http(load, &server.url("/stall-once")));
    assert_eq!((told.totals.ok, told.totals.dropped), (50, 0));
    // 400 ms behind one connection: arrivals of the first 300 ms, 30 of the 50, waited 100 ms or more.
    let quantile = |ppm| told.totals.latency.value_at_quantile_micro(ppm).expect("samples");
    assert!(quantile(450_000) >= 100_000, "p45 of the latency is {} us", quantile(450_000));
    assert!(told.totals.latency.max_us() >= Some(400_000));
    check_sums(&told);
}

#[test]
fn arrivals_that_cannot_be_started_in_time_are_dropped_and_counted() {
    let server = Server::start();
    let load = "vus = 1, rate = 100, start_within = \"50ms\", duration = \"500ms\"";
    let told = Bench::new(quick()).run(http(load, &server.url("/stall-once")));
    assert_eq!(told.totals.ok + told.totals.dropped, 50);
    assert!(told.totals.dropped >= 30, "{} dropped in a stall of 400 ms", told.totals.dropped);
    assert_eq!(told.totals.ok, server.requests());
    check_sums(&told);
}

#[test]
fn a_graceful_stop_finishes_what_is_in_flight() {
    for load in ["vus = 3, duration = \"1h\"", "vus = 3, rate = 200, duration = \"1h\""] {
        let server = Server::start();
        let mut bench = Bench::new(quick());
        let run = bench.start(http(load, &server.url("/ok")));
        bench.wait_started();
        while !matches!(bench.next(), ExecEvent::Progress { totals, .. } if totals.ok > 3) {}
        bench.stop(run, StopMode::Graceful);
        let told = bench.finish();
        assert_eq!(told.outcome, Outcome::Cancelled);
        assert_eq!((told.totals.ok, told.totals.err), (server.requests(), 0));
    }
}

#[test]
fn a_kill_waits_for_nobody() {
    for load in [
        "vus = 3, duration = \"1h\", timeout = \"1h\"",
        "vus = 3, rate = 9, duration = \"1h\", timeout = \"1h\"",
    ] {
        let server = Server::start();
        let mut bench = Bench::new(quick());
        let run = bench.start(http(load, &server.url("/hang")));
        bench.wait_started();
        bench.stop(run, StopMode::Graceful);
        bench.stop(run, StopMode::Kill);
        let told = bench.finish();
        assert_eq!((told.outcome, told.totals.requests()), (Outcome::Killed, 0));
    }
}

#[test]
fn a_stop_before_the_begin_starts_nothing() {
    let server = Server::start();
    let mut bench = Bench::new(quick());
    let run = crate::exec::testing::run_id();
    let shard = Box::new(http("vus = 1, duration = \"1h\"", &server.url("/ok")));
    let start_in = tidegate_core::Duration::from_secs(3_600);
    bench.engine.perform(tidegate_core::jobs::ExecCommand::Start { run, shard, start_in });
    bench.stop(run, StopMode::Graceful);
    let told = bench.finish();
    assert_eq!((told.outcome, told.started, server.requests()), (Outcome::Cancelled, false, 0));
}

#[test]
fn the_limit_of_a_run_ends_it() {
    let server = Server::start();
    let mut shard = http("vus = 2, duration = \"1h\", timeout = \"1h\"", &server.url("/hang"));
    shard.run_limit_ms = 100;
    let told = Bench::new(quick()).run(shard);
    assert_eq!((told.outcome, told.totals.requests()), (Outcome::TimedOut, 0));
    assert!(!told.why.is_empty());
}

#[test]
fn failures_are_told_by_kind() {
    let server = Server::start();
    let mut bench = Bench::new(quick());
    let told = bench.run(http(
        "vus = 1, rate = 50, duration = \"200ms\", start_within = \"30s\"",
        &server.url("/status/503"),
    ));
    assert_eq!(told.kinds(), [("status 503", told.totals.err)]);
    assert_eq!((told.totals.ok, told.totals.err + told.totals.dropped), (0, 10));
    check_sums(&told);

    let load = "vus = 10, rate = 50, duration = \"200ms\", timeout = \"30ms\", start_within = \"10s\"";
    let told = bench.run(http(load, &server.url("/hang")));
    assert_eq!(told.kinds(), [("timeout", 10)]);
    check_sums(&told);

    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let told = bench.run(http("vus = 2, duration = \"950ms\"", &format!("http://{free}/")));
    assert_eq!(told.kinds(), [("connect: refused", told.totals.err)]);
    assert_eq!(told.outcome, Outcome::Completed);
    assert!((1..=20).contains(&told.totals.err), "users pause: {} attempts", told.totals.err);
    assert_eq!(told.totals.service.count(), 0, "nothing was sent");
    check_sums(&told);
}

#[test]
fn a_server_that_closes_is_connected_to_again() {
    let server = Server::start();
    let told = Bench::new(quick()).run(http("vus = 2, duration = \"200ms\"", &server.url("/close")));
    assert_eq!((told.totals.ok, told.totals.err), (server.requests(), 0));
    assert_eq!(server.connections(), server.requests());
}

#[test]
fn without_keep_alive_every_request_connects() {
    let server = Server::start();
    let load = "vus = 2, duration = \"200ms\", keep_alive = false";
    let told = Bench::new(quick()).run(http(load, &server.url("/ok")));
    assert_eq!((told.totals.ok, told.totals.err), (server.connections(), 0));
    check_sums(&told);
}

#[test]
fn a_replacement_goes_on_where_the_workflow_is() {
    let server = Server::start();
    let mut shard = http("vus = 4, duration = \"300ms\", cores = 2", &server.url("/n/{{vu}}/{{iter}}"));
    (shard.first_vu, shard.elapsed_before_ms) = (40, 7_000);
    let told = Bench::new(quick()).run(shard);
    assert!(told.windows.iter().all(|window| window.no == 7 || window.no == 8), "{:?}", told.windows.len());
    let paths = server.seen.paths.lock().expect("paths").clone();
    assert_eq!(paths.len() as u64, told.totals.ok, "each user and iteration once");
    let users: std::collections::BTreeSet<_> =
        paths.iter().filter_map(|path| path.split('/').nth(2)).collect();
    assert_eq!(users.into_iter().collect::<Vec<_>>(), ["40", "41", "42", "43"]);
    assert!(paths.contains("/n/40/0"));
}

#[test]
fn an_iteration_sends_its_requests_in_order() {
    let server = Server::start();
    let shard = shard(&format!(
        "http = {{ vus = 1, rate = 20, duration = \"500ms\", start_within = \"30s\", requests = [\n\
         {{ url = \"{url}/a/{{{{iter}}}}\" }},\n\
         {{ method = \"POST\", url = \"{url}/echo\", body = \"user {{{{vu}}}}\" }},\n] }}",
        url = server.url(""),
    ));
    let told = Bench::new(quick()).run(shard);
    assert_eq!((told.totals.ok, told.totals.dropped), (20, 0), "ten arrivals of two requests");
    assert_eq!(told.totals.bytes_out, 10 * 6);
    assert_eq!(told.totals.bytes_in, 10 * (2 + 6));
    check_sums(&told);
}

#[test]
fn secrets_reach_the_target_and_nothing_else() {
    let server = Server::start();
    let value = "open sesame";
    let policy = Policy { secrets: Secrets::new([("TOKEN".into(), value.into())]), ..quick() };
    assert!(!format!("{policy:?}").contains(value));
    let mut bench = Bench::new(policy);
    let table = |secret: &str, url: &str| {
        let header = format!("headers = {{ authorization = \"Bearer {{{{secret.{secret}}}}}\" }}");
        shard(&format!(
            "http = {{ vus = 1, duration = \"1s\", requests = [{{ url = \"{url}\", {header} }}] }}"
        ))
    };
    let run = table("TOKEN", &server.url("/auth"));
    assert!(!String::from_utf8_lossy(&run.payload).contains(value));
    let told = bench.run(run);
    assert!(told.totals.ok > 0 && told.totals.err == 0, "{:?}", told.kinds());
    assert!(!told.debug.contains(value));

    let told = bench.run(table("OTHER", &server.url("/auth")));
    assert_eq!(told.outcome, Outcome::Failed);
    assert_eq!(told.why, "this worker knows no secret named OTHER");

    // A space cannot be in a path: the explanation names the secret, and does not show it.
    let told = bench.run(http("vus = 1, duration = \"100ms\"", &server.url("/{{secret.TOKEN}}")));
    assert_eq!(told.why, "the path cannot hold what is in its secrets (TOKEN)");
}

#[test]
fn a_worker_keeps_to_its_own_rules() {
    let server = Server::start();
    let rules = ["127.0.0.1:1", "*.example.com"].map(|rule| rule.parse().expect("a rule"));
    let mut bench = Bench::new(Policy { targets: Some(rules.to_vec()), ..quick() });
    let told = bench.run(http("vus = 1, duration = \"100ms\"", &server.url("/ok")));
    assert_eq!((told.outcome, server.requests()), (Outcome::Failed, 0));
    assert!(told.why.contains("does not allow the target"), "{}", told.why);

    let mut bench = Bench::new(Policy { max_rate: Some(100), ..quick() });
    let told = bench.run(http("vus = 1, rate = 101, duration = \"100ms\"", &server.url("/ok")));
    assert_eq!((told.outcome, server.requests()), (Outcome::Failed, 0));
    let told = bench.run(http("vus = 4, duration = \"500ms\"", &server.url("/ok")));
    assert_eq!(told.outcome, Outcome::Completed);
    assert!((1..=51).contains(&told.totals.ok), "{} at 100 a second for 0.5 s", told.totals.ok);
}

#[test]
fn a_name_that_does_not_resolve_fails_the_shard() {
    let told = Bench::new(quick()).run(http("vus = 1, duration = \"100ms\"", "http://no-such-host.invalid/"));
    assert_eq!((told.outcome, told.started), (Outcome::Failed, false));
    assert!(told.why.contains("cannot resolve no-such-host.invalid"), "{}", told.why);
}

mod tls {
    use std::sync::Arc;

    use rustls::pki_types::PrivateKeyDer;
    use rustls::{RootCertStore, ServerConfig};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A TLS server that answers each connection's first request, and the roots that know it.
    fn start(runtime: &tokio::runtime::Runtime) -> (std::net::SocketAddr, RootCertStore) {
        let signed =
            rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(signed.cert.der().clone()).expect("a root");
        let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![signed.cert.der().clone()], key)
            .expect("a server");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let addr = listener.local_addr().expect("an address");
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let _ = stream.read(&mut [0; 1024]).await;
                    let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
                    let _ = stream.write_all(answer).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        (addr, roots)
    }

    #[test]
    fn https_is_checked_against_the_roots() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (addr, roots) = start(&runtime);
        let url = format!("https://localhost:{}/", addr.port());
        let policy = Policy { roots: Some(Arc::new(roots)), ..quick() };
        let told = Bench::new(policy).run(http("vus = 2, duration = \"1s\"", &url));
        assert!(told.totals.ok > 0, "{:?} {}", told.kinds(), told.why);
        assert_eq!(told.kinds(), []);

        let stranger =
            rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(stranger.cert.der().clone()).expect("a root");
        let policy = Policy { roots: Some(Arc::new(roots)), ..quick() };
        let told = Bench::new(policy).run(http("vus = 1, rate = 10, duration = \"200ms\"", &url));
        assert_eq!((told.totals.ok, told.kinds()), (0, vec![("tls: refused", told.totals.err)]));
    }
}
