//! The fields of answers.
//!
//! | answer | fields |
//! |---|---|
//! | `Submitted` | `job`, `owner`, `gate_epoch`, `repeated` |
//! | `Status` | `job`, `status`, `owner`, `gate_epoch`, `requests`, `dcs`, and of each datacenter `DC.status`, `DC.requests` |
//! | `CancelRecorded` | `job`, `first` |
//! | `Result` | those of the fact `Result` |
//! | `Fault` | `code`, `retry_after_ms`, `owner` |
//! | `Jobs` | `count` |
//! | `Datacenters` | of each `DC.usable`, `DC.leader`, `DC.managers`, `DC.total_cores`, `DC.free_cores`, `DC.workers`, `DC.rtt_us` |
//! | `Members` | of each `GATE.status`, `GATE.leader`, `GATE.active`, `GATE.jobs` |

use tidegate_core::api::{Answer, DcView, JobView, MemberView};

use super::sight::Fields;
use crate::world::{Scene, name_of};

impl Fields {
    /// See the module.
    pub(super) fn answer(&mut self, scene: &Scene, answer: &Answer) {
        match answer {
            Answer::Submitted(submitted) => {
                self.text("job", &scene.job_name(submitted.job));
                self.text("owner", &scene.node_name(submitted.owner));
                self.number("gate_epoch", submitted.gate_epoch.0);
                self.yes("repeated", submitted.repeated);
            }
            Answer::Status(view) => self.job_view(scene, view),
            Answer::CancelRecorded { job, first } => {
                self.text("job", &scene.job_name(*job));
                self.yes("first", *first);
            }
            Answer::Fault(fault) => {
                self.text("code", name_of(&fault.code).as_str());
                self.number("retry_after_ms", u64::from(fault.retry_after_ms));
                if let Some(owner) = fault.owner {
                    self.text("owner", &scene.node_name(owner));
                }
            }
            Answer::Result(result) => self.result(scene, result),
            Answer::Jobs { jobs, .. } => self.number("count", jobs.len() as u64),
            Answer::Datacenters(views) => views.iter().for_each(|view| self.dc_view(scene, view)),
            Answer::Members(views) => {
                self.number("leaders", views.iter().filter(|view| view.leader).count() as u64);
                views.iter().for_each(|view| self.member_view(view));
            }
            Answer::Stream | Answer::NothingFollows => {}
        }
    }

    fn job_view(&mut self, scene: &Scene, view: &JobView) {
        self.text("job", &scene.job_name(view.job));
        self.text("status", &format!("{:?}", view.status));
        self.text("owner", &scene.node_name(view.owner));
        self.number("gate_epoch", view.gate_epoch.0);
        self.number("dcs", view.per_dc.len() as u64);
        self.number("requests", view.per_dc.iter().map(|dc| dc.totals.requests()).sum());
        for dc in &view.per_dc {
            self.text(&format!("{}.status", dc.dc), &format!("{:?}", dc.status));
            self.number(&format!("{}.requests", dc.dc), dc.totals.requests());
        }
    }

    fn dc_view(&mut self, scene: &Scene, view: &DcView) {
        let name = |field: &str| format!("{}.{field}", view.dc);
        self.yes(&name("usable"), view.usable);
        if let Some(leader) = view.leader {
            self.text(&name("leader"), &scene.node_name(leader));
        }
        self.number(&name("managers"), u64::from(view.managers));
        self.number(&name("total_cores"), u64::from(view.capacity.total_cores));
        self.number(&name("free_cores"), u64::from(view.capacity.free_cores));
        self.number(&name("workers"), u64::from(view.capacity.workers));
        self.text(&name("health"), &format!("{:?}", view.health));
        self.text(&name("region_health"), &format!("{:?}", view.region_health));
        if let Some(rtt) = view.rtt_us {
            self.number(&name("rtt_us"), u64::from(rtt));
        }
    }

    fn member_view(&mut self, view: &MemberView) {
        let name = |field: &str| format!("{}.{field}", view.name);
        self.text(&name("status"), &format!("{:?}", view.status));
        self.yes(&name("leader"), view.leader);
        self.yes(&name("active"), view.active);
        self.yes(&name("ready"), view.ready);
        self.number(&name("reaches"), u64::from(view.reaches));
        self.number(&name("jobs"), u64::from(view.jobs));
    }
}
