use std::path::Path;
use std::time::{Duration, Instant};

use tidegate_core::jobs::{ExecutorKind, Load, Outcome, StopMode};

use super::testing::{Bench, bare, shard};
use super::*;
use crate::jobfile::{Origin, Plan};

fn with_command() -> Policy {
    let executors = vec![ExecutorKind::Http, ExecutorKind::Sleep, ExecutorKind::Command];
    Policy { executors, sample: Duration::from_millis(20), ..Policy::default() }
}

fn sh(script: &str, timeout: &str) -> tidegate_core::jobs::ShardRun {
    shard(&format!("command = {{ argv = [\"sh\", \"-c\", '''{script}'''], timeout = \"{timeout}\" }}"))
}

#[test]
fn sleep_takes_its_time_and_can_be_stopped() {
    let mut bench = Bench::new(with_command());
    let told = bench.run(shard("sleep = { duration = \"120ms\" }"));
    assert_eq!((told.outcome, told.totals.ok, told.started), (Outcome::Completed, 1, true));
    assert!(told.totals.elapsed_ms >= 120 && !told.progress.is_empty());
    assert_eq!(told.totals.latency.count(), 1);

    for (mode, outcome) in [(StopMode::Graceful, Outcome::Cancelled), (StopMode::Kill, Outcome::Killed)] {
        let run = bench.start(shard("sleep = { duration = \"1h\" }"));
        bench.wait_started();
        bench.stop(run, mode);
        let told = bench.finish();
        assert_eq!((told.outcome, told.totals.requests()), (outcome, 0));
    }

    let mut limited = shard("sleep = { duration = \"1h\" }");
    limited.run_limit_ms = 30;
    let told = bench.run(limited);
    assert_eq!((told.outcome, told.totals.err), (Outcome::TimedOut, 1));
}

#[test]
fn a_payload_that_is_no_plan_fails_the_shard() {
    let mut bench = Bench::new(with_command());
    let load = Load { vus: 1, duration_ms: 10, instances: 1, ..Load::default() };
    let told = bench.run(bare(ExecutorKind::Http, &Plan::Sleep, load));
    assert_eq!((told.outcome, told.started), (Outcome::Failed, false));
    assert_eq!(told.why, "the payload is no plan for the executor http");
    let mut junk = bare(ExecutorKind::Sleep, &Plan::Sleep, load);
    junk.payload = b"{".to_vec().into();
    let told = bench.run(junk);
    assert!(told.why.contains("the payload is no plan"), "{}", told.why);
}

#[test]
fn command_runs_only_where_it_is_listed() {
    let told = Bench::new(Policy::default()).run(sh("true", "5s"));
    assert_eq!(told.outcome, Outcome::Failed);
    assert_eq!(told.why, "this worker's configuration does not allow the executor command");
}

#[test]
fn a_command_ends_well_or_says_why_not() {
    let mut bench = Bench::new(with_command());
    let told = bench.run(sh("echo fine", "30s"));
    assert_eq!((told.outcome, told.totals.ok, told.why.as_str()), (Outcome::Completed, 1, ""));

    let told = bench.run(sh("echo out; echo broken pipe dream >&2; exit 3", "30s"));
    assert_eq!((told.outcome, told.kinds()), (Outcome::Failed, vec![("exit status 3", 1)]));
    assert!(
        told.why.starts_with("the command ended with exit status 3; its output ended with: "),
        "{}",
        told.why
    );
    assert!(told.why.contains("broken pipe dream"), "{}", told.why);

    let told = bench.run(sh("yes too much | head -c 100000; exit 1", "30s"));
    assert!(told.why.len() <= 512 && told.why.contains("too much"), "{}", told.why);

    let told = bench.run(shard("command = { argv = [\"/no/such/program\"], timeout = \"5s\" }"));
    assert_eq!((told.outcome, told.kinds()), (Outcome::Failed, vec![("not started", 1)]));

    let told = bench.run(sh("sleep 1000", "50ms"));
    assert_eq!((told.outcome, told.kinds()), (Outcome::TimedOut, vec![("timeout", 1)]));
}

#[test]
fn a_command_sees_only_what_it_is_given() {
    let mut bench = Bench::new(with_command());
    let script = "env | grep -v \"^\\(PATH\\|HOME\\|LANG\\|TZ\\|PWD\\|SHLVL\\|OLDPWD\\|_\\|GIVEN\\|TIDEGATE_[A-Z]*\\)=\" && exit 9; \
                  test \"$GIVEN\" = yes && test -n \"$TIDEGATE_JOB\" && test \"$TIDEGATE_ATTEMPT\" = 1 \
                  && test \"$TIDEGATE_DATACENTER\" = here && test \"$TIDEGATE_CORES\" = 2 && test \"$TIDEGATE_INSTANCE\" = 5";
    let table = format!(
        "command = {{ argv = [\"sh\", \"-c\", '''{script}'''], env = {{ GIVEN = \"yes\" }}, cores = 2, timeout = \"30s\" }}"
    );
    let mut shard = shard(&table);
    shard.first_vu = 5;
    let told = bench.run(shard);
    assert_eq!((told.outcome, told.why.as_str()), (Outcome::Completed, ""));
}

#[test]
fn secrets_of_a_command_are_covered_in_its_output() {
    let value = "open sesame";
    let mut bench =
        Bench::new(Policy { secrets: Secrets::new([("DOOR".into(), value.into())]), ..with_command() });
    let told = bench.run(shard(
        "command = { argv = [\"sh\", \"-c\", \"echo knock $D >&2; exit 1\"], env = { D = \"{{secret.DOOR}}\" }, timeout = \"30s\" }",
    ));
    assert!(told.why.contains("knock ***"), "{}", told.why);
    assert!(!told.debug.contains(value));
}

fn process_runs(pid: &str) -> bool {
    std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
}

/// Waits for a file that a script writes.
fn read_when_written(path: &Path) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_string(),
            _ => assert!(Instant::now() < deadline, "{} was not written", path.display()),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn stops_reach_the_whole_group() {
    let folder = tempfile::tempdir().expect("a folder");
    for (mode, outcome, ignore) in
        [(StopMode::Graceful, Outcome::Cancelled, ""), (StopMode::Kill, Outcome::Killed, "trap \"\" TERM; ")]
    {
        let file = folder.path().join(format!("{mode:?}"));
        let script = format!("{ignore}sleep 1000 & echo $! > {}; wait", file.display());
        let mut bench = Bench::new(with_command());
        let run = bench.start(sh(&script, "1h"));
        bench.wait_started();
        let pid = read_when_written(&file);
        assert!(process_runs(&pid));
        bench.stop(run, mode);
        assert_eq!(bench.finish().outcome, outcome);
        assert!(!process_runs(&pid), "the child of the command is gone too");
    }
}

#[test]
fn what_a_command_leaves_behind_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    let script = format!("sleep 1000 > /dev/null 2>&1 & echo $! > {}", file.display());
    let told = Bench::new(with_command()).run(sh(&script, "1h"));
    assert_eq!(told.outcome, Outcome::Completed);
    assert!(!process_runs(&read_when_written(&file)));
}

#[test]
fn a_shutdown_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    let mut bench = Bench::new(with_command());
    bench.start(sh(&format!("trap \"\" TERM; sleep 1000 & echo $! > {}; wait", file.display()), "1h"));
    bench.start(shard("sleep = { duration = \"1h\" }"));
    let pid = read_when_written(&file);
    bench.engine.shutdown();
    assert!(!process_runs(&pid));
}

#[test]
fn target_rules_match_hosts_and_ports() {
    let origin = |host: &str, port| Origin { tls: false, host: host.to_string(), port };
    for (rule, host, port, allowed) in [
        ("shop.example", "Shop.Example", 80, true),
        ("shop.example", "a.shop.example", 80, false),
        ("shop.example:8080", "shop.example", 80, false),
        ("*.example", "shop.example", 80, true),
        ("*.example", "example", 80, false),
        ("*.example", "badexample", 80, false),
        ("[::1]:8080", "::1", 8080, true),
        ("[::1]", "::1", 9, true),
    ] {
        let policy = Policy { targets: Some(vec![rule.parse().expect(rule)]), ..Policy::default() };
        assert_eq!(policy.allows(&origin(host, port)), allowed, "{rule} {host}:{port}");
    }
    for wrong in ["", "*", "a:0", "a:x", "http://a", "a b", "::1"] {
        assert!(wrong.parse::<TargetRule>().is_err(), "{wrong:?}");
    }
}

#[test]
fn a_policy_comes_from_the_worker_configuration() {
    const HEAD: &str = r#"
cluster = "c"
name = "w1"
dc = "fra"
listen = "127.0.0.1:7600"
data_dir = "data"
tls = { authority = "a", certificate = "b", key = "c" }
gossip = { key_file = "d" }
datacenters = [{ name = "fra", managers = [{ name = "m1", address = "127.0.0.1:7601" }] }]
"#;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("token"), "open sesame\n").expect("a secret");
    let read = |worker: &str| {
        let text = format!("{HEAD}{worker}");
        let node = crate::config::parse(&folder.path().join("w1.toml"), &text, Role::Worker);
        Policy::of(&node.unwrap_or_else(|error| panic!("{error}")))
    };
    let policy = read(
        "worker = { executors = [\"command\"], http = { allow_targets = [\"a.example:80\"], \
         max_requests_per_second = 9 }, secrets = { TOKEN = { file = \"token\" } } }",
    )
    .expect("a policy");
    assert_eq!((policy.executors.as_slice(), policy.max_rate), (&[ExecutorKind::Command][..], Some(9)));
    assert_eq!(policy.secrets.get("TOKEN"), Some("open sesame"));
    assert!(!policy.allows(&Origin { tls: false, host: "b.example".into(), port: 80 }));

    let gone = read("worker = { secrets = { GONE = { env = \"TIDEGATE_NO_SUCH_VARIABLE\" } } }");
    assert!(gone.expect_err("no secret").contains("TIDEGATE_NO_SUCH_VARIABLE is not set"));
    let wrong = read("worker = { http = { allow_targets = [\"http://a\"] } }");
    assert!(wrong.expect_err("no rule").contains("is no target"));
}
