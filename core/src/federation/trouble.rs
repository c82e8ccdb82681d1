//! What a datacenter has been through: failing, failed, recovering, flapping.
//!
//! | from | on | to |
//! |---|---|---|
//! | Fine, Recovering | it fails | Failing; Flapping where it failed [`FLAPS`] times in [`FLAP_WINDOW`] |
//! | Failing | [`CONFIRM`] pass | Failed |
//! | Failing, Failed | it answers | Recovering |
//! | Recovering | [`RECOVER`] pass | Fine |
//! | Flapping | [`CALM`] pass since it last failed or came back | Recovering where it answers, else Failed |
//!
//! Every move that waits is a deadline ([`Trouble::ends`]), so silence freezes nothing.

use smallvec::SmallVec;

use crate::time::{Duration, Instant};

/// A failure counts once it has lasted this long; a shorter one counts half.
pub const CONFIRM: Duration = Duration::from_secs(5);
/// A datacenter that came back is last choice for this long.
pub const RECOVER: Duration = Duration::from_secs(30);
/// Failures in [`FLAP_WINDOW`] that make a datacenter a flapping one.
pub const FLAPS: usize = 3;
/// See [`FLAPS`].
pub const FLAP_WINDOW: Duration = Duration::from_secs(120);
/// A flapping datacenter is last choice until it has been calm for this long.
pub const CALM: Duration = Duration::from_secs(300);

/// How a datacenter stands with its past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing, or long ago.
    #[default]
    Fine,
    /// It has just stopped answering.
    Failing,
    /// It does not answer.
    Failed,
    /// It answers again, since a little while.
    Recovering,
    /// It comes and goes.
    Flapping,
}

/// The past of one datacenter.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble {
    state: State,
    /// Whether it fails now.
    down: bool,
    /// When the state moves by itself, where it does.
    ends: Option<Instant>,
    /// When it last began to fail, up to [`FLAPS`] times; oldest first.
    failures: SmallVec<[Instant; FLAPS]>,
}

impl Trouble {
    pub fn state(&self) -> State {
        self.state
    }

    /// When [`Trouble::pass`] does something.
    pub fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// When it began to fail, if it fails or comes and goes.
    pub fn failed_at(&self) -> Option<Instant> {
        let failing = matches!(self.state, State::Failing | State::Failed | State::Flapping);
        self.failures.last().copied().filter(|_| failing)
    }

    /// Its weight among failures that may belong together, in halves.
    pub fn halves(&self) -> usize {
        match self.state {
            State::Failed | State::Flapping => 2,
            State::Failing => 1,
            State::Fine | State::Recovering => 0,
        }
    }

    /// It has stopped answering.
    pub fn fail(&mut self, now: Instant) {
        self.down = true;
        if self.failures.len() == FLAPS {
            self.failures.remove(0);
        }
        self.failures.push(now);
        let flaps = self.failures.len() == FLAPS && now.since(self.failures[0]) <= FLAP_WINDOW;
        if flaps || self.state == State::Flapping {
            self.enter(State::Flapping, Some(now + CALM));
        } else {
            self.enter(State::Failing, Some(now + CONFIRM));
        }
    }

    /// It answers again.
    pub fn recover(&mut self, now: Instant) {
        self.down = false;
        match self.state {
            State::Failing | State::Failed => self.enter(State::Recovering, Some(now + RECOVER)),
            State::Flapping => self.ends = Some(now + CALM),
            State::Fine | State::Recovering => {}
        }
    }

    /// Time passes.
    pub fn pass(&mut self, now: Instant) {
        if self.ends.is_none_or(|ends| now < ends) {
            return;
        }
        match self.state {
            State::Failing => self.enter(State::Failed, None),
            State::Flapping if self.down => self.enter(State::Failed, None),
            State::Flapping => self.enter(State::Recovering, Some(now + RECOVER)),
            State::Recovering | State::Fine | State::Failed => self.enter(State::Fine, None),
        }
    }

    fn enter(&mut self, state: State, ends: Option<Instant>) {
        (self.state, self.ends) = (state, ends);
    }
}
