//! How `tidegate run` ends: what it prints where, and every exit code of the README.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tidegate::report::Report;
use tidegate_core::api::{ClientEvent, ClientEventKind};
use tidegate_core::jobs::JobStatus;

use super::support::{Cluster, Run, TIDEGATE, alone, free_ports, said, tidegate};

struct Job {
    dir: tempfile::TempDir,
    file: PathBuf,
}

impl Job {
    fn new(head: &str, workflows: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("job.toml");
        fs::write(&file, format!("version = 1\nname = \"job\"\n{head}\n{workflows}\n")).unwrap();
        Self { dir, file }
    }

    /// On the smallest cluster inside the process.
    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(TIDEGATE);
        command
            .arg("run")
            .arg(&self.file)
            .args(["--datacenters=1", "--workers=1", "--allow-command"])
            .args(more);
        command
    }

    fn run(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap()
    }

    fn expect(&self, code: i32, words: &[&str]) {
        let output = self.run(&[]);
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output));
        assert_eq!(output.status.code(), Some(code), "{text}");
        for word in words {
            assert!(text.contains(word), "{word:?} is not in\n{text}");
        }
    }
}

const NAP: &str = "[[workflow]]\nname = \"nap\"\nsleep = { duration = \"100ms\" }";
const BREAK: &str = "[[workflow]]\nname = \"break\"\ncommand = { argv = [\"false\"], timeout = \"10s\" }";

fn http(what: &str, path: &str) -> String {
    format!(
        "[[workflow]]\nname = \"load\"\nhttp = {{ {what}, requests = [{{ url = \"{{{{target}}}}{path}\" }}] }}"
    )
}

#[test]
fn thresholds_decide_between_0_and_99() {
    let _alone = alone();
    Job::new("thresholds = [\"requests == 1\"]", NAP)
        .expect(0, &["PASSED", "ok   requests == 1  (measured 1)"]);
    let missed = Job::new("thresholds = [\"requests == 1\", \"p(99) < 50\"]", NAP);
    missed.expect(99, &["FAILED thresholds", "ok   requests == 1", "FAIL p(99) < 50  (measured ", " ms)"]);
}

#[test]
fn a_failed_job_exits_with_3() {
    let _alone = alone();
    Job::new("workflow_retries = 0", BREAK).expect(3, &["FAILED: job", "ended with exit status 1"]);
}

#[test]
fn a_partial_job_exits_with_4_and_a_late_one_with_6() {
    let _alone = alone();
    let both = format!("{NAP}\n{BREAK}");
    Job::new("workflow_retries = 0\npartial_results = true", &both).expect(4, &["PARTIAL: job"]);
    let slow = http("vus = 1, duration = \"1s\", timeout = \"60s\"", "/slow?ms=10000");
    Job::new("timeout = \"2s\"", &slow).expect(6, &["TIMED OUT: job"]);
}

#[test]
fn ctrl_c_cancels_says_so_and_exits_with_5() {
    let _alone = alone();
    let job = Job::new("", &http("vus = 2, duration = \"10m\"", "/slow?ms=20"));
    let mut child = job.command(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut log = String::new();
    while !log.contains("\nrunning\n") {
        assert!(lines.read_line(&mut log).unwrap() > 0, "{log}");
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    lines.read_to_string(&mut log).unwrap();
    let mut summary = String::new();
    child.stdout.take().unwrap().read_to_string(&mut summary).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5), "{log}{summary}");
    for words in
        ["cancelling the job; press Ctrl-C again", "the cancel is recorded", "cancelled: 1 shards stopped"]
    {
        assert!(log.contains(words), "{words:?} is not in\n{log}");
    }
    assert!(
        summary.contains("CANCELLED: job") && summary.contains("interrupted at the terminal"),
        "{summary}"
    );
}

#[test]
fn wrong_usage_and_bad_files_exit_with_2_and_start_nothing() {
    Job::new("nmae = \"x\"", NAP).expect(2, &["job.toml:3:1", "unknown field `nmae`"]);
    let good = Job::new("", NAP);
    for more in [
        ["--gates=2", "--quiet"].as_slice(),
        &["--color"],
        &["--patience=soon"],
        &["--target=ftp://x"],
        &["--gate=127.0.0.1:80"],
    ] {
        let output = good.run(more);
        assert_eq!(output.status.code(), Some(2), "{more:?}: {}", said(&output));
        assert!(!said(&output).is_empty() && output.stdout.is_empty(), "{more:?}");
    }
    let missing = tidegate(&["run", "/nowhere/job.toml"]);
    assert_eq!(missing.status.code(), Some(2));
    let which = tidegate(&["status", &"0".repeat(32)]);
    assert_eq!(which.status.code(), Some(2));
    assert!(said(&which).contains("--gate http://host:port"), "{}", said(&which));
}

#[test]
fn a_refused_run_exits_with_7_and_an_unheard_one_with_8() {
    let _alone = alone();
    let mut cluster = Cluster::new(1, 1, 1, 1);
    cluster.start_all();
    let job = Job::new("", NAP);
    let file = job.file.to_str().unwrap();
    let gate = cluster.gate_urls();
    let stranger = tidegate(&["run", file, "--gate", &gate, "--token", "stranger"]);
    assert_eq!(stranger.status.code(), Some(7), "{}", said(&stranger));
    assert!(said(&stranger).contains("this token is not known here"), "{}", said(&stranger));
    let unknown = tidegate(&["status", &"0".repeat(32), "--gate", &gate, "--token", &cluster.token()]);
    assert_eq!(unknown.status.code(), Some(7), "{}", said(&unknown));

    // The job of a key is followed again, by whoever repeats the command; another job under the key is refused.
    let repeat = |file: &str| {
        tidegate(&["run", file, "--gate", &gate, "--token", &cluster.token(), "--key", "nightly"])
    };
    assert_eq!(repeat(file).status.code(), Some(0));
    let again = repeat(file);
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    assert!(said(&again).contains("had been accepted before under this key"), "{}", said(&again));
    let other = Job::new("retries = 1", NAP);
    let conflict = repeat(other.file.to_str().unwrap());
    assert_eq!(conflict.status.code(), Some(7), "{}", said(&conflict));

    let nobody = format!("http://127.0.0.1:{}", free_ports(1));
    for command in [vec!["run", file, "--patience", "1s"], vec!["status", "00000000000000000000000000000000"]]
    {
        let unheard = tidegate(&[command.as_slice(), &["--gate", &nobody]].concat());
        assert_eq!(unheard.status.code(), Some(8), "{}", said(&unheard));
        let (text, refused) = (said(&unheard), format!("{nobody}: Connection refused"));
        assert_eq!(text.matches(&refused).count().min(1), 1, "{text}");
    }
}

#[test]
fn without_a_terminal_progress_is_plain_lines_and_the_summary_is_apart() {
    let _alone = alone();
    let job = Job::new("", &http("vus = 2, duration = \"3s\"", "/slow?ms=20"));
    let out = job.dir.path().join("result.json");
    let output = job.run(&["--out", out.to_str().unwrap()]);
    let (progress, summary) = (said(&output), String::from_utf8(output.stdout).unwrap());
    assert_eq!(output.status.code(), Some(0), "{progress}{summary}");
    assert!(
        !progress.contains('\x1b') && !progress.contains('\r') && !summary.contains('\x1b'),
        "{progress}{summary}"
    );
    for words in [
        "no --target given",
        "accepted for dc-1",
        "\nrunning\n",
        " left | all: ",
        "p95 ",
        "workflow \"load\" in dc-1 completed",
    ] {
        assert!(progress.contains(words), "{words:?} is not in\n{progress}");
    }
    for words in [
        "PASSED: job in ",
        "load: requested 6.0 VU-seconds, delivered ",
        "dc-1  completed ",
        "p99.9",
        "result written to",
    ] {
        assert!(summary.contains(words), "{words:?} is not in\n{summary}");
    }
    let report: Report = serde_json::from_slice(&fs::read(out).unwrap()).unwrap();
    assert_eq!((report.status, report.total.errors), (JobStatus::Completed, 0));
    assert!(report.total.requests > 0);
}

#[test]
fn json_streams_every_event_as_a_line_and_nothing_else() {
    let _alone = alone();
    let job = Job::new("", &http("vus = 2, duration = \"2s\"", "/slow?ms=20"));
    let out = job.dir.path().join("result.json");
    let run = Run::spawn(job.command(&["--json", "--out", out.to_str().unwrap()]), out);
    let ended = run.ended();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let events: &[ClientEvent] = &ended.events;
    assert!(matches!(events[0].kind, ClientEventKind::Accepted { .. }), "{events:?}");
    assert!(events.iter().any(|event| matches!(event.kind, ClientEventKind::Progress { .. })), "{events:?}");
    assert!(
        events.iter().any(|event| matches!(event.kind, ClientEventKind::StatsWindow { .. })),
        "{events:?}"
    );
    assert_eq!(*ended.result(), ended.report().result);
}
