//! A whole cluster in this process, under load.

use std::sync::mpsc::channel;

use tidegate_core::api::ClientEvent;
use tidegate_core::client::{Done, Goal, Notice};
use tidegate_core::jobs::JobStatus;
use tidegate_core::swim::MemberStatus;

use super::*;
use crate::cli::follow::{Audience, follow};
use crate::jobfile::{self, Surroundings, Target};

/// More users than two cores can serve, without a pause: the load and the nodes share the machine.
const JOB: &str = r#"
version = 1
name = "saturate"
[[workflow]]
name = "load"
[workflow.http]
vus = 64
duration = "8s"
requests = [{ url = "{{target}}/fast" }]
"#;

struct Nobody;

impl Audience for Nobody {
    fn tell(&mut self, _: &ClientEvent) {}
    fn notice(&mut self, _: &Notice, _: &[Gate]) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_saturates_the_machine_raises_no_suspicion() {
    let shape = Shape { gates: 3, datacenters: 1, managers: 3, workers: 2, allow_command: false };
    let (tap, heard) = channel();
    let cluster = Embedded::start_heard(&shape, true, Some(tap)).await.unwrap();
    let target = Target::Demo(cluster.demo().unwrap());
    let around = Surroundings { env: &|_| None, target: &target };
    let spec = Box::new(jobfile::parse("the test", JOB, &around).unwrap().spec);
    let goal = Goal::Run { key: "once".into(), spec };
    let (_keep, mut cancels) = tokio::sync::mpsc::unbounded_channel();
    let done = follow(&cluster.gates(), goal, Span::from_secs(60), &mut Nobody, &mut cancels).await.unwrap();
    let Done::Final(result) = done else { panic!("{done:?}") };
    assert_eq!(result.status, JobStatus::Completed, "{result:?}");

    let heard: Vec<_> = heard.try_iter().map(|(_, observation)| observation).collect();
    let members = |wanted: &[MemberStatus]| {
        let is_wanted = |seen: &&Observation| matches!(seen, Observation::Member { status, .. } if wanted.contains(status));
        heard.iter().filter(is_wanted).cloned().collect::<Vec<_>>()
    };
    // Three gates and five nodes of the datacenter have met, and nobody doubted anybody.
    assert!(members(&[MemberStatus::Alive]).len() >= 3 * 2 + 5 * 2, "{heard:?}");
    assert_eq!(members(&[MemberStatus::Suspect, MemberStatus::Dead]), []);
    assert!(!heard.iter().any(|seen| matches!(seen, Observation::LeaseEnded(_))), "{heard:?}");
    cluster.stop().await;
}
