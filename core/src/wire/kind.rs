//! The kinds of messages: one row each with its class, its largest body and who may send it to whom.
//!
//! The table is the whole of the protocol's policy on kinds. It has no state and reads no body: a receiver knows from
//! the header alone how important a frame is, how large it may be and whether its sender may say such a thing.

use crate::id::Role;
use crate::wire::Message;

/// How important a kind is (`nodes-and-protocol` 0.4). A constant of the kind: a sender cannot promote its traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Log, leases, cancel, ownership, results: never shed.
    Critical = 0,
    /// Dispatch, reservations, registration, reconciliation: shed when overloaded.
    High = 1,
    /// Progress and heartbeats: shed when stressed.
    Normal = 2,
    /// Hints that may be lost at any time: shed when busy.
    Low = 3,
}

/// Largest body of a message that carries a few ids and numbers, or one refusal.
pub const SMALL: usize = 1024;
/// Largest body of a message with a bounded list of ids.
pub const MEDIUM: usize = 256 * 1024;
/// Largest body of a message with one payload of at most 256 KiB, or one workflow's histograms.
pub const LARGE: usize = 512 * 1024;
/// Largest body of all: what fits in a frame.
pub const FULL: usize = super::frame::MAX_FRAME - super::frame::HEADER_LEN;

/// The links of the role table: sender, then receiver.
const GG: (Role, Role) = (Role::Gate, Role::Gate);
const GM: (Role, Role) = (Role::Gate, Role::Manager);
const MG: (Role, Role) = (Role::Manager, Role::Gate);
const MM: (Role, Role) = (Role::Manager, Role::Manager);
const MW: (Role, Role) = (Role::Manager, Role::Worker);
const WM: (Role, Role) = (Role::Worker, Role::Manager);

macro_rules! kinds {
    ($($name:ident = $number:literal: $class:ident, $max:expr, [$($link:ident),+];)+) => {
        /// The kind of a message: the number of its variant.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Kind {
            $(#[doc = concat!("[`Message::", stringify!($name), "`]")] $name = $number,)+
        }

        impl Kind {
            /// Every kind, by number.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The kind of this number; `None` where this version knows none.
            pub const fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// Its class.
            pub const fn class(self) -> Class {
                match self { $(Self::$name => Class::$class,)+ }
            }

            /// The largest body, in bytes.
            pub const fn max_body(self) -> usize {
                match self { $(Self::$name => $max,)+ }
            }

            /// Its name in logs and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            const fn links(self) -> &'static [(Role, Role)] {
                match self { $(Self::$name => &[$($link),+],)+ }
            }
        }

        impl Message {
            /// The kind of this message.
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$name { .. } => Kind::$name,)+ }
            }
        }
    };
}

kinds! {
    Log = 0: Critical, FULL, [GG, MM];
    Ping = 1: Critical, SMALL, [GG, GM, MG, MM, MW, WM];
    Pong = 2: Critical, SMALL, [GG, GM, MG, MM, MW, WM];

    DcHeartbeat = 10: Normal, SMALL, [MG];
    Dispatch = 11: High, LARGE, [GM];
    DispatchReply = 12: High, SMALL, [MG];
    DcProgress = 13: Normal, FULL, [MG];
    WorkflowResultAck = 14: Critical, SMALL, [GM];
    WorkflowResult = 15: Critical, LARGE, [MG];
    DcFinal = 16: Critical, FULL, [MG];
    DcFinalAck = 17: Critical, SMALL, [GM];
    StopInDc = 18: Critical, SMALL, [GM];
    StopInDcReply = 19: Critical, SMALL, [MG];
    GateOwnerChanged = 20: Critical, SMALL, [GM];
    GateOwnerChangedReply = 21: Critical, SMALL, [MG];
    DcOwnerChanged = 22: Critical, SMALL, [MG];
    DcOwnerChangedAck = 23: Critical, SMALL, [GM];
    Reconcile = 24: High, MEDIUM, [GM];
    ReconcileReply = 25: High, MEDIUM, [MG];
    Forget = 26: Low, MEDIUM, [GM];
    GateView = 27: Normal, MEDIUM, [GG];

    RegisterWorker = 40: High, MEDIUM, [WM];
    RegisterWorkerReply = 41: High, SMALL, [MW];
    WorkerHeartbeat = 42: Normal, MEDIUM, [WM];
    ReserveShard = 43: High, LARGE, [MW];
    ReserveShardReply = 44: High, SMALL, [WM];
    StartShard = 45: High, SMALL, [MW];
    ShardStarted = 46: High, SMALL, [WM];
    StopShard = 47: Critical, SMALL, [MW];
    StopShardReply = 48: Critical, SMALL, [WM];
    ShardProgress = 49: Normal, FULL, [WM];
    ShardProgressAck = 50: Normal, SMALL, [MW];
    ShardResult = 51: Critical, LARGE, [WM];
    ShardResultAck = 52: Critical, SMALL, [MW];
    OwnerChanged = 53: Critical, SMALL, [MW];
    OwnerChangedReply = 54: Critical, MEDIUM, [WM];
    ForgetAtWorker = 55: Low, MEDIUM, [MW];
    MoreTime = 56: High, SMALL, [WM];
    MoreTimeReply = 57: High, SMALL, [MW];
}

/// Whether a node of role `from` may send this kind to a node of role `to` (`nodes-and-protocol` 2 and 5.2).
pub fn may_send(from: Role, to: Role, kind: Kind) -> bool {
    kind.links().contains(&(from, to))
}

/// Whether nodes of these roles hold a connection at all, whoever dials.
pub fn may_connect(from: Role, to: Role) -> bool {
    [GG, GM, MG, MM, MW, WM].contains(&(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_kinds_are_one_to_one() {
        for &kind in Kind::ALL {
            assert_eq!(Kind::from_number(kind as u16), Some(kind));
        }
        let known = (0..=u16::MAX).filter(|&number| Kind::from_number(number).is_some()).count();
        assert_eq!(known, Kind::ALL.len());
    }

    #[test]
    fn gates_and_workers_never_meet() {
        for &kind in Kind::ALL {
            assert!(!may_send(Role::Gate, Role::Worker, kind) && !may_send(Role::Worker, Role::Gate, kind));
            assert!(!may_send(Role::Worker, Role::Worker, kind));
        }
        assert!(!may_connect(Role::Worker, Role::Gate) && !may_connect(Role::Worker, Role::Worker));
    }

    #[test]
    fn a_reply_goes_back_where_its_request_came_from() {
        use Kind::*;
        for (request, reply) in [
            (Ping, Pong),
            (Dispatch, DispatchReply),
            (WorkflowResult, WorkflowResultAck),
            (DcFinal, DcFinalAck),
            (StopInDc, StopInDcReply),
            (GateOwnerChanged, GateOwnerChangedReply),
            (DcOwnerChanged, DcOwnerChangedAck),
            (Reconcile, ReconcileReply),
            (RegisterWorker, RegisterWorkerReply),
            (ReserveShard, ReserveShardReply),
            (StartShard, ShardStarted),
            (StopShard, StopShardReply),
            (ShardProgress, ShardProgressAck),
            (ShardResult, ShardResultAck),
            (OwnerChanged, OwnerChangedReply),
            (MoreTime, MoreTimeReply),
        ] {
            for &(from, to) in request.links() {
                assert!(may_send(to, from, reply), "{reply:?} answers {request:?}");
            }
            assert_eq!(request.class(), reply.class());
        }
    }
}
