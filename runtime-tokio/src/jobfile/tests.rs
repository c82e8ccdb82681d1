use std::path::Path;

use expect_test::expect_file;
use proptest::prelude::*;
use tidegate_core::id::WorkflowIx;
use tidegate_core::jobs::{Comparison, ExecutorKind, Metric, OnWorkerLoss, Placement, Statistic};

use super::*;

fn no_env(_: &str) -> Option<String> {
    None
}

fn read(text: &str, env: &dyn Fn(&str) -> Option<String>, target: &Target) -> Result<Job, String> {
    parse("job.toml", text, &Surroundings { env, target }).map_err(|report| report.to_string())
}

fn good(text: &str) -> Job {
    read(text, &no_env, &Target::Later).unwrap_or_else(|report| panic!("{report}"))
}

fn demo() -> Target {
    Target::Demo("http://127.0.0.1:9".parse().expect("a base URL"))
}

fn http_plan(job: &Job, workflow: usize) -> HttpPlan {
    match Plan::decode(&job.spec.workflows[workflow].payload) {
        Ok(Plan::Http(plan)) => plan,
        other => panic!("no http plan: {other:?}"),
    }
}

/// Every file in `bad/` is refused with exactly the text beside it.
#[test]
fn bad_files_say_what_is_wrong_where_and_what_would_be_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/jobfile/bad");
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of bad files")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "toml"))
        .collect();
    names.sort();
    assert!(names.len() >= 20, "{} bad files", names.len());
    for path in names {
        let text = std::fs::read_to_string(&path).expect("a bad file");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let around = Surroundings { env: &no_env, target: &Target::Missing };
        let report = parse(&name, &text, &around).expect_err(&name);
        for problem in report.problems() {
            assert!(report.position(problem).is_some(), "{name}: {:?} has no place", problem.message);
        }
        expect_file![path.with_extension("txt")].assert_eq(&report.to_string());
    }
}

#[test]
fn the_schema_in_docs_is_the_one_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/job-file.schema.json");
    expect_file![path].assert_eq(&schema());
}

#[test]
fn a_full_file_becomes_the_job_that_it_says() {
    let job = good(FULL);
    let spec = &job.spec;
    assert_eq!((job.tenant.as_str(), spec.name.as_str()), ("shop", "checkout"));
    let dcs = ["eu", "us"].map(|name| tidegate_core::id::DcId::new(name).expect("a name"));
    assert_eq!(spec.placement, Placement::Only(dcs.to_vec()));
    assert_eq!((spec.timeout_ms, spec.on_worker_loss), (600_000, OnWorkerLoss::Degrade));
    assert_eq!((spec.retries, spec.workflow_retries, spec.partial_results), (4, 2, true));
    let [prepare, browse, settle] = &spec.workflows[..] else { panic!("three workflows") };
    assert_eq!((prepare.executor, prepare.cores, prepare.load.instances), (ExecutorKind::Command, 2, 3));
    assert_eq!(prepare.load.duration_ms, 30_000);
    assert_eq!((browse.executor, browse.needs.as_slice()), (ExecutorKind::Http, &[WorkflowIx(0)][..]));
    assert_eq!((browse.load.vus, browse.load.rate_milli, browse.load.duration_ms), (50, 120_500, 90_000));
    assert_eq!((settle.executor, settle.needs.as_slice()), (ExecutorKind::Sleep, &[WorkflowIx(1)][..]));
    let texts: Vec<&str> = spec.thresholds.iter().map(|threshold| threshold.text.as_str()).collect();
    assert_eq!(texts, ["error_rate < 1%", "browse: p(99.9) < 1.5s"]);
    assert_eq!(spec.validate(), Ok(()));
}

const FULL: &str = r#"
version = 1
name = "checkout"
tenant = "shop"
datacenters = ["eu", "us"]
timeout = "10m"
thresholds = ["error_rate < 1%"]
on_worker_loss = "degrade"
retries = 4
workflow_retries = 2
partial_results = true

[[workflow]]
name = "prepare"
command = { argv = ["seed", "--all"], env = { A = "b" }, timeout = "30s", cores = 2, instances = 3 }

[[workflow]]
name = "browse"
needs = ["prepare"]
thresholds = ["p(99.9) < 1.5s"]

[workflow.http]
vus = 50
rate = 120.5
duration = "1m30s"
timeout = "5s"
keep_alive = false

[[workflow.http.requests]]
method = "POST"
url = "https://shop.example:8443/cart/{{vu}}?n={{iter}}"
headers = { Authorization = "Bearer {{secret.TOKEN}}" }
body = "{}"
checks = { status = [201, "3xx"] }
timeout = "1s"

[[workflow.http.requests]]
url = "http://[::1]?x=1"

[[workflow]]
name = "settle"
needs = ["browse"]
sleep = { duration = "1s" }
"#;

#[test]
fn requests_are_planned_with_their_placeholders() {
    let plan = http_plan(&good(FULL), 1);
    assert!(!plan.keep_alive);
    let [first, second] = &plan.requests[..] else { panic!("two requests") };
    let text = |text: &str| Piece::Text(text.to_string());
    assert_eq!(first.origin, Origin { tls: true, host: "shop.example".into(), port: 8443 });
    assert_eq!(first.path.0, [text("/cart/"), Piece::Vu, text("?n="), Piece::Iter]);
    let header = Template(vec![text("Bearer "), Piece::Secret("TOKEN".into())]);
    assert_eq!(first.headers, [("authorization".to_string(), header)]);
    assert_eq!((first.status.as_slice(), first.timeout_ms), (&[(201, 201), (300, 399)][..], 1_000));
    assert_eq!(second.origin, Origin { tls: false, host: "::1".into(), port: 80 });
    assert_eq!(second.origin.authority(), "[::1]");
    assert_eq!((second.path.as_text(), second.timeout_ms), (Some("/?x=1"), 5_000));
    assert_eq!(second.status, [(200, 399)]);
}

#[test]
fn the_environment_is_read_once_and_is_no_template() {
    let text = r#"
version = 1
name = "env"
[[workflow]]
name = "a"
command = { argv = ["echo", "{{env.WORDS}}", "{{secret.WORDS}}"], timeout = "1s" }
"#;
    let env = |name: &str| (name == "WORDS").then(|| "{{secret.OTHER}} {{".to_string());
    let job = read(text, &env, &Target::Missing).expect("a job");
    let Ok(Plan::Command(plan)) = Plan::decode(&job.spec.workflows[0].payload) else { panic!("a command") };
    assert_eq!(plan.argv[1].as_text(), Some("{{secret.OTHER}} {{"));
    assert_eq!(plan.argv[2].0, [Piece::Secret("WORDS".into())]);
}

const AIMED: &str = r#"
version = 1
name = "aimed"
[[workflow]]
name = "a"
http = { vus = 1, duration = "1s", requests = [{ url = "{{target}}/hello" }] }
"#;

#[test]
fn the_target_takes_the_place_of_its_name() {
    let given = |url: &str| Target::Given(url.parse().expect("a base URL"));
    for (target, origin, path) in [
        (demo(), "127.0.0.1:9", "/hello"),
        (given("https://shop.example/"), "shop.example", "/hello"),
        (given("http://shop.example:8080/v2"), "shop.example:8080", "/v2/hello"),
    ] {
        let plan = http_plan(&read(AIMED, &no_env, &target).expect("a job"), 0);
        assert_eq!(
            (plan.requests[0].origin.authority(), plan.requests[0].path.as_text()),
            (origin.into(), Some(path))
        );
    }
    let unused = AIMED.replace("{{target}}", "http://127.0.0.1:1");
    assert!(
        read(&unused, &no_env, &given("http://a"))
            .expect_err("unused")
            .contains("no request uses {{target}}")
    );
    assert!(read(&unused, &no_env, &demo()).is_ok());
    for wrong in ["shop.example", "http://", "http://a/?x", "http://a:0", "ftp://a", "http://u@a"] {
        assert!(wrong.parse::<BaseUrl>().is_err(), "{wrong}");
    }
}

#[test]
fn thresholds_read_as_k6_users_write_them() {
    use Comparison::{Above, AtLeast, AtMost, Below, Equal, NotEqual};
    let quantile = Statistic::Quantile;
    for (text, metric, statistic, comparison, micro) in [
        ("p(99) < 250", Metric::Latency, quantile(990_000), Below, 250_000_000),
        ("p(99.9)<=1s", Metric::Latency, quantile(999_000), AtMost, 1_000_000_000),
        ("p95 < 20.5ms", Metric::Latency, quantile(950_000), Below, 20_500_000),
        ("latency p(50) < 800us", Metric::Latency, quantile(500_000), Below, 800_000),
        ("service p(99) < 100", Metric::Service, quantile(990_000), Below, 100_000_000),
        ("service max < 1m", Metric::Service, Statistic::Max, Below, 60_000_000_000),
        ("avg < 100", Metric::Latency, Statistic::Mean, Below, 100_000_000),
        ("med < 100", Metric::Latency, quantile(500_000), Below, 100_000_000),
        ("min >= 1", Metric::Latency, Statistic::Min, AtLeast, 1_000_000),
        ("rate > 500", Metric::Rate, Statistic::Value, Above, 500_000_000),
        ("rate>0.5/s", Metric::Rate, Statistic::Value, Above, 500_000),
        ("error_rate < 0.01", Metric::ErrorRate, Statistic::Value, Below, 10_000),
        ("error_rate != 5%", Metric::ErrorRate, Statistic::Value, NotEqual, 50_000),
        ("requests > 0", Metric::Requests, Statistic::Value, Above, 0),
        ("dropped == 0", Metric::Dropped, Statistic::Value, Equal, 0),
    ] {
        let read = threshold::parse(text, None).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
        let expected = (text, None, metric, statistic, comparison, micro);
        let read = (
            read.text.as_str(),
            read.workflow,
            read.metric,
            read.statistic,
            read.comparison,
            read.value_micro,
        );
        assert_eq!(read, expected);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_report_too() {
    let report = check(Path::new("no/such/file.toml")).expect_err("there is no such file");
    assert!(report.to_string().contains("no/such/file.toml"), "{report}");
}

#[test]
fn plans_survive_their_encoding() {
    for workflow in good(FULL).spec.workflows {
        let plan = Plan::decode(&workflow.payload).expect("a plan");
        assert_eq!(plan.encode(), workflow.payload.0);
    }
    assert!(Plan::decode(b"{\"http\":5}").is_err());
}

proptest! {
    #[test]
    fn durations_read_back_what_they_print(millis in 1..=HumanDuration::MAX_MS) {
        let duration = HumanDuration::from_millis(millis);
        prop_assert_eq!(HumanDuration::parse(&duration.to_string()), Ok(duration));
    }

    /// Whatever is in a file, the answer is a job that the core accepts, or a report that can be shown.
    #[test]
    fn no_text_breaks_the_reader(cut in 0..FULL.len(), junk in "[ -~\n\"{}é]{0,12}", skip in 0usize..8) {
        let floor = |at: usize| (0..=at.min(FULL.len())).rev().find(|&i| FULL.is_char_boundary(i)).unwrap_or(0);
        let text = format!("{}{junk}{}", &FULL[..floor(cut)], &FULL[floor(cut + skip)..]);
        match read(&text, &no_env, &demo()) {
            Ok(job) => prop_assert_eq!(job.spec.validate(), Ok(())),
            Err(report) => prop_assert!(report.contains("error: ")),
        }
    }
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_examples_are_good_jobs() {
    let mut checked = 0;
    let entries = std::fs::read_dir(root().join("examples")).expect("the examples");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    // Folders hold what is no job.
    for path in paths.filter(|path| path.is_file()) {
        let job = check(&path).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(job.spec.validate(), Ok(()));
        checked += 1;
    }
    assert!(checked >= 4);
}

#[test]
fn the_jobs_in_the_documentation_are_good() {
    let mut checked = 0;
    for file in ["docs/job-file.md", "README.md"] {
        let text = std::fs::read_to_string(root().join(file)).expect(file);
        for block in text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            if block.starts_with("version = 1") {
                good(block);
                checked += 1;
            }
        }
    }
    assert!(checked >= 4, "{checked} jobs");
}
