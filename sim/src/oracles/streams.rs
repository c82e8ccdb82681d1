//! Progress never goes back.
//!
//! - On one stream the places of events strictly grow.
//! - A kept event has one place and one content, whoever reads it, from whichever gate.
//! - What a client is shown of a datacenter never shrinks while the job has the same owner.

use std::collections::BTreeMap;

use tidegate_core::api::{ClientEvent, ClientEventKind, EventPos};
use tidegate_core::id::{DcId, GateEpoch, JobId};
use tidegate_core::jobs::Totals;

use crate::world::{Fact, HostIx, Interest, Scene, Spectator};

/// See the module.
#[derive(Default)]
pub(super) struct Streams {
    tested: u64,
    newest: BTreeMap<(HostIx, u64), EventPos>,
    kept: BTreeMap<(JobId, u64), ClientEventKind>,
    shown: BTreeMap<(HostIx, u64, DcId), (GateEpoch, Totals)>,
}

impl Streams {
    fn order(
        &mut self,
        scene: &Scene,
        client: HostIx,
        gate: HostIx,
        stream: u64,
        event: &ClientEvent,
    ) -> Result<(), String> {
        if matches!(event.kind, ClientEventKind::Gap { .. }) {
            return Ok(());
        }
        match self.newest.insert((client, stream), event.pos) {
            Some(before) if before >= event.pos => Err(format!(
                "{} sent {} {:?} after {before:?} on one stream of {}",
                scene.name(gate),
                scene.name(client),
                event.pos,
                scene.job_name(event.job)
            )),
            _ => Ok(()),
        }
    }

    fn same(&mut self, scene: &Scene, gate: HostIx, event: &ClientEvent) -> Result<(), String> {
        if !event.kind.is_kept() {
            return Ok(());
        }
        self.tested += u64::from(self.kept.contains_key(&(event.job, event.pos.kept)));
        let known = self.kept.entry((event.job, event.pos.kept)).or_insert_with(|| event.kind.clone());
        if *known == event.kind {
            return Ok(());
        }
        Err(format!(
            "kept event {} of {} is {known:?}, and from {} {:?}",
            event.pos.kept,
            scene.job_name(event.job),
            scene.name(gate),
            event.kind
        ))
    }

    fn grows(
        &mut self,
        scene: &Scene,
        client: HostIx,
        stream: u64,
        event: &ClientEvent,
    ) -> Result<(), String> {
        let ClientEventKind::Progress { per_dc, .. } = &event.kind else { return Ok(()) };
        for view in per_dc {
            let now = (event.pos.epoch, view.totals.clone());
            let before = self.shown.insert((client, stream, view.dc), now);
            if let Some((epoch, before)) = before
                && epoch == event.pos.epoch
                && !view.totals.covers(&before)
            {
                let (job, dc) = (scene.job_name(event.job), view.dc);
                let (had, has) = (before.requests(), view.totals.requests());
                return Err(format!("progress of {job} in {dc} went back: {had} requests, then {has}"));
            }
        }
        Ok(())
    }
}

impl Spectator for Streams {
    fn name(&self) -> &'static str {
        "progress never goes back"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::PUSHES
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Pushed { client, gate, stream, event } = fact else { return Ok(()) };
        self.order(scene, *client, *gate, *stream, event)?;
        self.same(scene, *gate, event)?;
        self.grows(scene, *client, *stream, event)
    }
}
