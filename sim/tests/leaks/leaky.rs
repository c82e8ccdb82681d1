//! The real node in a wrapper with a leak.

use std::marker::PhantomData;

use tidegate_core::Node;
use tidegate_core::census::Census;
use tidegate_core::config::Boot;
use tidegate_core::effect::{Effect, Effects, HaltReason};
use tidegate_core::event::Event;
use tidegate_core::id::{JobId, NodeId, Role};
use tidegate_core::observe::Observation;
use tidegate_core::time::{Duration, Instant, Now};
use tidegate_core::wire::Message;
use tidegate_sim::world::{HostInfo, Machine};

/// Marks the observation with which every leak is accompanied, or which it goes into.
pub const LEAK: u64 = 0x1ea7;
/// Which node leaks.
pub const LEAKING_NODE: &str = "g1";
/// In which of its steps.
const LEAKING_STEP: u64 = 20;

/// Where a leak goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Into {
    /// Into what the node says.
    Observation,
    /// Into what it sends.
    Message,
    /// Into when it wants to be woken.
    Timer,
}

/// A source of numbers that no seed decides.
pub trait Leak: 'static {
    /// Its name.
    const NAME: &'static str;
    /// Where it leaks into.
    const INTO: Into;
    /// Whether it is none.
    const SOUND: bool = false;
    /// Sees every event before the leak.
    fn see(_event: &Event) {}
    /// The number.
    fn number() -> u64;
}

/// See the module.
pub struct Leaky<L> {
    node: Node,
    leaks: bool,
    peer: Option<NodeId>,
    steps: u64,
    wake: Option<Instant>,
    source: PhantomData<L>,
}

impl<L: Leak> Leaky<L> {
    fn leak(&mut self, now: Now, out: &mut Effects) {
        let number = L::number();
        let said = if L::INTO == Into::Observation { number } else { 0 };
        out.push(Effect::Observe(Observation::StateDigest { index: LEAK, digest: said }));
        match (L::INTO, self.peer) {
            (Into::Message, Some(to)) => {
                out.push(Effect::Send { to, message: Box::new(Message::Ping { token: number }) });
            }
            (Into::Timer, _) => self.wake = Some(now.mono + Duration::from_micros(1 + number % 1_000)),
            _ => {}
        }
    }
}

impl<L: Leak> Machine for Leaky<L> {
    fn begin(boot: Boot) -> Result<Self, HaltReason> {
        let leaks = boot.config.role == Role::Gate;
        let node = Node::new(boot)?;
        Ok(Self { node, leaks, peer: None, steps: 0, wake: None, source: PhantomData })
    }

    fn step_into(&mut self, now: Now, event: Event, out: &mut Effects) {
        L::see(&event);
        if let Event::Connected { peer, .. } = event {
            self.peer = Some(peer);
        }
        self.wake = self.wake.filter(|wake| *wake > now.mono);
        self.node.step_into(now, event, out);
        self.steps += 1;
        if self.leaks && self.steps == LEAKING_STEP {
            self.leak(now, out);
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.node.wake_at().into_iter().chain(self.wake).min()
    }

    fn mentions(&self, job: JobId) -> usize {
        self.node.mentions(job)
    }

    fn census(&self) -> Census {
        self.node.census()
    }

    fn connections(nodes: &[HostInfo]) -> Vec<(usize, usize)> {
        <Node as Machine>::connections(nodes)
    }
}
