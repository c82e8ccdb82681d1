//! Greetings: who may be connected with whom, and what they speak then, as drivers find out before a node hears of it.
//!
//! Each greeting goes through the codec and is judged by the rules of the core against what the certificate says. A
//! refusal is told to the node that refuses; the dialler tries again, later each time, as the real driver does.

use tidegate_core::api::{Identity, Request};
use tidegate_core::event::Event;
use tidegate_core::fault::Fault;
use tidegate_core::id::{BootNo, CallId, DcId, NodeId, Role};
use tidegate_core::wire::{Claims, Dialect, Features, Hello, HelloAck, MAJOR, Mark, dials};

use super::clock::Time;
use super::facts::{Fact, HostIx};
use super::{Machine, World};
use crate::plan::Greets;

/// First wait of a refused dialler before it dials again; doubles up to [`BACKOFF_CAP`]. The wait is random up to this.
const BACKOFF_BASE: Time = 100_000_000;
const BACKOFF_CAP: Time = 5_000_000_000;
/// Numbers the calls of clients to where they have no connection: above all that they count.
const STRAY_CALL: u64 = 0xffff_0000;

/// The longest wait after so many refusals.
pub(super) fn backoff(refused: u32) -> Time {
    (BACKOFF_BASE << refused.min(10)).min(BACKOFF_CAP)
}

impl<M: Machine> World<M> {
    /// What a node would say if it greeted so, and what its certificate says.
    fn greeting(&self, host: HostIx, how: &Greets) -> Option<(Hello, Option<Claims>)> {
        let config = self.hosts[host].config.as_deref()?;
        let mut hello = Hello::of(config, BootNo(self.scene.boots[host]), Features::NONE);
        let cluster = how.cluster.clone().unwrap_or_else(|| hello.cluster.clone());
        let claims = Claims { cluster, role: hello.role, dc: hello.dc, name: hello.name.clone() };
        hello.cluster.clone_from(&claims.cluster);
        if let Some(role) = how.claimed_role() {
            hello.role = role;
            hello.dc = if role == Role::Gate { DcId::NONE } else { hello.dc };
        }
        hello.node = NodeId::derive(&hello.cluster, hello.role, hello.dc.as_str(), &hello.name);
        hello.major = how.major.map_or(hello.major, u16::from);
        hello.minor = how.minor.unwrap_or(hello.minor);
        if how.features.is_some() {
            hello.features.clone_from(&how.features);
        }
        Some((hello, (!how.no_certificate).then_some(claims)))
    }

    /// A node greets so from now on.
    pub(super) fn greets(&mut self, host: HostIx, how: Greets) {
        let Some((hello, _)) = self.greeting(host, &how) else { return };
        self.scene.speaks[host] = hello.dialect();
        let this = &mut self.hosts[host];
        this.mark = Mark::of_major(how.major.unwrap_or(MAJOR), &hello.cluster);
        this.greets = how;
    }

    /// What a host hears of another one's greeting, by the rules of the core.
    fn judge(&self, me: HostIx, other: HostIx, how: &Greets) -> Result<Dialect, Fault> {
        let greeting = |host, how| self.greeting(host, how).expect("only nodes greet");
        let (hello, claims) = greeting(other, how);
        let (mine, _) = greeting(me, &self.hosts[me].greets);
        let mut bytes = Vec::new();
        hello.encode(&mut bytes).expect("a greeting fits");
        let heard = match Hello::decode(&bytes) {
            Ok(Some((_, heard))) if heard == hello => heard,
            other => panic!("{hello:?} is another greeting after the wire: {other:?}"),
        };
        heard.judge(claims.as_ref(), &mine).map_err(|fault| {
            // What the other end is told of it.
            let mut bytes = Vec::new();
            HelloAck { answer: Err(fault) }.encode(&mut bytes).expect("a refusal fits");
            match HelloAck::decode(&bytes) {
                Ok(Some((_, HelloAck { answer: Err(told) }))) => told,
                other => panic!("a refusal is something else after the wire: {other:?}"),
            }
        })
    }

    /// Both ends of a connection greet: the dialler first. False where one refuses the other.
    pub(super) fn greet(&mut self, link: usize) -> bool {
        let ends = self.links[link].ends.map(|host| host as usize);
        let seat = |host: HostIx| self.scene.hosts[host].role.map(|role| (role, self.scene.hosts[host].node));
        let (Some(one), Some(two)) = (seat(ends[0]), seat(ends[1])) else { return true };
        let dialler = usize::from(!dials(one, two));
        for (me, other) in [(1 - dialler, dialler), (dialler, 1 - dialler)] {
            let how = self.hosts[ends[other]].greets.clone();
            match self.judge(ends[me], ends[other], &how) {
                Ok(dialect) => self.links[link].dialects[me] = dialect,
                Err(fault) => {
                    self.links[link].refused += 1;
                    self.refuse(ends[me], ends[other], &how, &fault);
                    self.dial(link);
                    return false;
                }
            }
        }
        self.links[link].refused = 0;
        true
    }

    /// A node that nobody dials here greets a host, or a client calls one that serves none.
    pub(super) fn stranger(&mut self, from: HostIx, to: HostIx, how: &Greets) -> bool {
        if !self.scene.running[to] {
            return false;
        }
        if from >= self.scene.nodes {
            let number = STRAY_CALL + u64::from(self.hosts[from].wakes as u32 & 0xffff);
            self.hosts[from].wakes += 1;
            let call = CallId((from as u64) << 32 | number);
            let identity = Identity { tenant: Default::default(), operator: false };
            self.hosts[to].open_calls.insert(call, false);
            self.deliver(to, Event::Api { call, identity, request: Box::new(Request::Members) });
        } else if let Err(fault) = self.judge(to, from, how) {
            self.refuse(to, from, how, &fault);
        }
        true
    }

    fn refuse(&mut self, me: HostIx, other: HostIx, how: &Greets, fault: &Fault) {
        if let Some(trace) = &mut self.trace {
            let (me, other) = (self.scene.name(me), self.scene.name(other));
            trace.line(&self.scene, &format!("{me} refuses the greeting of {other}: {fault}"));
        }
        self.tell(&Fact::GreetingRefused { host: me, from: other, fault });
        let (_, claims) = self.greeting(other, how).unzip();
        let peer = claims.flatten().map(|claims| claims.node());
        self.deliver(me, Event::GreetingRefused { peer, code: fault.code });
    }
}
