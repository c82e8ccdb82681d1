//! Who leads: timers, pre-vote, check-quorum and hand-over around noraft's votes.
//!
//! A voter that has not heard a leader for a random time first asks the others whether they would vote for it
//! (pre-vote, which changes nothing at anybody); one that hears a leader says no, so neither a voter that was cut off
//! nor one with a bad link disturbs a leader that works. A leader that no majority answers for an election period
//! goes back to follower: noraft is restarted from its own term, vote and log, as after a crash. So does one that is
//! heard by all and of no use: one that is so slow, or so far away, that not even its own lease lasts until it is renewed.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use super::message::{LogBody, LogPos};
use super::raft::from_noraft;
use super::{Ledger, State};
use crate::effect::{Effect, Effects};
use crate::id::{NodeId, Term};
use crate::observe::{Observation, Stale};
use crate::rng::NodeRng;
use crate::store::{Store, StoreToken};
use crate::time::{Duration, Instant};

/// How many latencies of `Stored` are remembered; the oldest go first.
const LATENCIES: usize = 128;

/// A leader that was of no use campaigns again after so many election periods: by then the others have noticed its
/// silence, however late its last word came, and have chosen another one.
const STANDS_BACK: u64 = 4;

/// Timers and beliefs about the leader. Volatile.
#[derive(Clone, Debug)]
pub(super) struct Election {
    silence: Duration,
    rng: NodeRng,
    /// When this voter campaigns, unless it hears a leader or gives its vote.
    pub due: Instant,
    /// As leader: when the next heartbeat goes out.
    pub tick_at: Instant,
    /// Who was heard as leader of the current term.
    pub leader: Option<NodeId>,
    /// When, while it may be alive.
    heard_leader: Option<Instant>,
    /// The term that was asked for, and who would vote for this node in it.
    asking: Option<(Term, BTreeSet<NodeId>)>,
    /// This node lets others go first in any election; and has done so in this one.
    reluctant: bool,
    stood_back: bool,
    /// As leader that leaves: who is to follow, and since when.
    pub heir: Option<(NodeId, Instant)>,
    /// As leader: when each follower last answered.
    heard: BTreeMap<NodeId, Instant>,
    /// As leader: when its own lease last held; when it began to lead, until then.
    useful: Instant,
    round_trips: BTreeMap<NodeId, Duration>,
    latencies: VecDeque<Duration>,
    slow_store: Duration,
    /// A write whose latency is being measured.
    measuring: Option<(StoreToken, Instant)>,
}

impl Election {
    pub fn new(silence: Duration, rng: NodeRng) -> Self {
        Self {
            silence,
            rng,
            due: Instant::FAR_FUTURE,
            tick_at: Instant::FAR_FUTURE,
            leader: None,
            heard_leader: None,
            asking: None,
            reluctant: false,
            stood_back: false,
            heir: None,
            heard: BTreeMap::new(),
            useful: Instant::ZERO,
            round_trips: BTreeMap::new(),
            latencies: VecDeque::new(),
            slow_store: Duration::ZERO,
            measuring: None,
        }
    }

    /// The election period: silence of the leader before anybody acts on it.
    pub fn period(&self) -> Duration {
        let round_trip = self.round_trips.values().copied().max().unwrap_or_default();
        self.silence.max((round_trip + self.slow_store).scale(4, 1))
    }

    /// A random time from `low` on, up to an election period later.
    fn within_period(&mut self, low: Instant) -> Instant {
        low + Duration::from_nanos(self.rng.below(self.period().as_nanos()))
    }

    /// Waits a whole period and a random part of another.
    pub fn rearm(&mut self, now: Instant) {
        self.due = self.within_period(now + self.period());
    }

    /// At the start nothing speaks against asking soon: who hears a leader says so.
    pub fn arm_first(&mut self, now: Instant) {
        self.due = self.within_period(now);
    }

    /// A round trip to another voter.
    pub fn round_trip(&mut self, node: NodeId, round_trip: Duration) {
        self.round_trips.insert(node, round_trip);
    }

    /// Starts to measure the disk, unless it is being measured.
    pub fn writing(&mut self, token: StoreToken, now: Instant) {
        self.measuring.get_or_insert((token, now));
    }

    /// The disk has confirmed something.
    pub fn confirmed(&mut self, store: &Store, now: Instant) {
        let Some((token, since)) = self.measuring else { return };
        if !store.is_stored(token) {
            return;
        }
        self.measuring = None;
        if self.latencies.len() == LATENCIES {
            self.latencies.pop_front();
        }
        self.latencies.push_back(now.since(since));
        let mut sorted: alloc::vec::Vec<_> = self.latencies.iter().copied().collect();
        sorted.sort_unstable();
        self.slow_store = sorted[(sorted.len() * 99).div_ceil(100) - 1];
    }

    /// The leader of the current term was heard; true where it was not known before.
    pub fn hear_leader(&mut self, leader: NodeId, now: Instant) -> bool {
        self.heard_leader = Some(now);
        self.stood_back = false;
        self.asking = None;
        self.leader.replace(leader) != Some(leader)
    }

    /// A new term: nothing is known of its leader.
    pub fn new_term(&mut self) {
        self.leader = None;
        self.asking = None;
        self.heir = None;
    }

    /// This node leads from now on.
    pub fn lead(&mut self, followers: impl Iterator<Item = NodeId>, now: Instant) {
        self.heard = followers.map(|follower| (follower, now)).collect();
        self.useful = now;
    }

    /// Lets the others go first.
    fn stand_back(&mut self, now: Instant) {
        self.due = self.within_period(now + self.period().scale(STANDS_BACK, 1));
    }

    /// A follower answered.
    pub fn hear_follower(&mut self, follower: NodeId, now: Instant) {
        if let Some(heard) = self.heard.get_mut(&follower) {
            *heard = now;
        }
    }

    /// Whether a follower answered within an election period.
    pub fn hears(&self, follower: NodeId, now: Instant) -> bool {
        self.heard.get(&follower).is_some_and(|heard| now.since(*heard) < self.period())
    }

    /// Whether a leader was heard within an election period.
    fn hears_leader(&self, now: Instant) -> bool {
        self.heard_leader.is_some_and(|heard| now.since(heard) < self.period())
    }

    /// Membership doubts a node: a leader's silence need not be waited for any longer than for its next heartbeat,
    /// which would be heard by then.
    fn doubt(&mut self, node: NodeId, next_heartbeat_by: Instant) {
        if self.leader == Some(node) && !self.stood_back {
            self.heard_leader = None;
            self.due = self.due.min(self.within_period(next_heartbeat_by));
        }
    }
}

impl<S: State> Ledger<S> {
    /// What membership says of another voter: a hint. A dead leader's silence is not waited for; that a silent leader
    /// seems alive delays nothing, since its disk may hang. A rumour alone deposes nobody: a node that is cut off from
    /// the leader suspects it, and others hear of that by way of workers.
    pub fn peer_alive(&mut self, node: NodeId, alive: bool) {
        if !alive {
            self.election.doubt(node, self.last_now + self.waits.tick.scale(3, 2));
        }
    }

    /// As leader: nodes whose lease is not ended and who answer. One that is silent can take nothing, though the end of
    /// its lease may come later.
    pub fn answering_holders(&self, now: Instant) -> impl Iterator<Item = NodeId> {
        self.holders().filter(move |node| *node == self.me || self.election.hears(*node, now))
    }

    /// A measured round trip to another voter: election timers never go below four times the largest.
    pub fn round_trip(&mut self, node: NodeId, rtt: Duration) {
        if self.raft.number(node).is_some() {
            self.election.round_trip(node, rtt);
        }
    }

    /// The end of the log.
    pub(super) fn last(&self) -> LogPos {
        from_noraft(self.raft.node.log().last_position())
    }

    /// Heartbeat and quorum check of a leader; the campaign of anybody else.
    pub(super) fn wake_election(&mut self, now: Instant, store: &mut Store, out: &mut Effects) {
        if self.is_leader() {
            if self.election.tick_at <= now {
                if now.since(self.election.tick_at) > self.election.period() {
                    // It stood still: what it was of no use for meanwhile says nothing of it now.
                    self.election.useful = now;
                }
                self.election.tick_at = now + self.waits.tick;
                self.tick(now, store, out);
            }
        } else if self.election.due <= now {
            if self.election.reluctant && self.raft.voter_count() > 1 && !self.election.stood_back {
                self.election.stood_back = true;
                return self.election.stand_back(now);
            }
            self.election.stood_back = false;
            self.election.rearm(now);
            self.ask_for_votes(store, out);
        }
    }

    /// Whether this node lets others go first in elections; true where that is news. It stands where nobody else does.
    pub fn lead_last(&mut self, reluctant: bool) -> bool {
        core::mem::replace(&mut self.election.reluctant, reluctant) != reluctant
    }

    fn tick(&mut self, now: Instant, store: &mut Store, out: &mut Effects) {
        let peers = self.raft.peers();
        let answering = peers.iter().filter(|peer| self.election.hears(**peer, now)).count();
        if answering < self.raft.voter_count() / 2 {
            self.step_down(store, out);
            return;
        }
        if self.raft.voter_count() > 1 && self.is_useless(now) {
            self.step_down(store, out);
            self.election.stand_back(now);
            return;
        }
        self.raft.node.heartbeat();
        self.drain(Default::default(), store, out);
        self.resend_images(now, store, out);
        self.hand_over(now, store, out);
    }

    /// Whether this leader has decided nothing in time for longer than a lease and an election take. Whoever can renew
    /// no lease has no owner that may act: the tier stands still for as long as it follows this leader.
    fn is_useless(&mut self, now: Instant) -> bool {
        if self.lease.holds(now) || self.lease.is_given_up() {
            self.election.useful = now;
        }
        self.lease.is_late() || now.since(self.election.useful) >= self.lease.ttl() + self.election.period()
    }

    /// Back to follower, as a crash and restart would do: noraft has no call for it.
    fn step_down(&mut self, store: &mut Store, out: &mut Effects) {
        self.raft.restart();
        self.election.new_term();
        self.election.rearm(self.last_now);
        self.drain(Default::default(), store, out);
    }

    /// A leader that has given up its lease, once that is applied, picks an heir, takes no more proposals, and asks the
    /// heir to campaign when it has everything. An heir that does not take over within an election period is dropped.
    pub(super) fn hand_over(&mut self, now: Instant, store: &mut Store, out: &mut Effects) {
        if !self.is_leader() || !self.lease.is_given_up() || self.holders().any(|holder| holder == self.me) {
            return;
        }
        if self.election.heir.is_some_and(|(_, since)| now.since(since) >= self.election.period()) {
            self.election.heir = None;
            return;
        }
        let held = |peer: NodeId| {
            let number = self.raft.number(peer)?;
            self.raft.node.follower_match_index(number).map(noraft::LogIndex::get)
        };
        let answering = self.raft.peers().into_iter().filter(|peer| self.election.hears(*peer, now));
        let heir = self.election.heir.or_else(|| Some((answering.max_by_key(|peer| held(*peer))?, now)));
        self.election.heir = heir;
        if let Some((heir, _)) = heir
            && held(heir) == Some(self.last().index)
        {
            let term = self.term();
            self.send(heir, LogBody::HandOver { term }, store, out);
        }
    }

    pub(super) fn receive_hand_over(
        &mut self,
        from: NodeId,
        term: Term,
        store: &mut Store,
        out: &mut Effects,
    ) {
        if term == self.term() && self.election.leader == Some(from) && !self.is_leader() {
            self.raft.node.handle_election_timeout();
            self.drain(Default::default(), store, out);
        } else {
            out.push(Effect::Observe(Observation::Ignored(Stale::Fence)));
        }
    }

    fn ask_for_votes(&mut self, store: &mut Store, out: &mut Effects) {
        let term = self.term().next();
        let last = self.last();
        self.election.asking = Some((term, BTreeSet::from([self.me])));
        for peer in self.raft.peers() {
            self.send(peer, LogBody::PreVote { term, last }, store, out);
        }
    }

    pub(super) fn receive_pre_vote(
        &mut self,
        from: NodeId,
        asked: Term,
        last: LogPos,
        store: &mut Store,
        out: &mut Effects,
    ) {
        let undisturbed = self.is_leader() || self.election.hears_leader(self.last_now);
        let granted = !undisturbed && asked > self.term() && last >= self.last();
        let term = self.term();
        self.send(from, LogBody::PreVoteReply { asked, term, granted }, store, out);
    }

    pub(super) fn receive_pre_vote_reply(
        &mut self,
        from: NodeId,
        (asked, term, granted): (Term, Term, bool),
        store: &mut Store,
        out: &mut Effects,
    ) {
        if term > self.term() {
            // The tier has moved on: take over its term, or this node would ask for an old one for ever.
            self.learn_term(from, term, store, out);
            return;
        }
        let majority = self.raft.voter_count() / 2 + 1;
        let Some((asking, granters)) = &mut self.election.asking else { return };
        if *asking != asked || !granted {
            return;
        }
        granters.insert(from);
        if granters.len() >= majority {
            self.election.asking = None;
            self.raft.node.handle_election_timeout();
            self.drain(Default::default(), store, out);
        }
    }
}
