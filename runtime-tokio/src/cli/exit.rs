//! Exit codes: the contract with scripts.

use std::process::ExitCode;

use tidegate_core::fault::{Fault, FaultCode};
use tidegate_core::jobs::JobStatus;

use crate::report::Report;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Completed, and every threshold holds.
    Ok = 0,
    /// Wrong usage, or a bad file.
    Usage = 2,
    /// The job failed.
    Failed = 3,
    /// Some of it is useful, and the job allows that.
    Partial = 4,
    /// Cancelled.
    Cancelled = 5,
    /// Its time was over.
    TimedOut = 6,
    /// A gate refused the request.
    Refused = 7,
    /// No gate answered.
    Unreachable = 8,
    /// A threshold does not hold (the code that k6 uses).
    Thresholds = 99,
}

impl Exit {
    /// Of a job that ended.
    pub fn of(report: &Report) -> Self {
        match report.status {
            JobStatus::Completed if report.thresholds_ok => Self::Ok,
            JobStatus::Completed => Self::Thresholds,
            JobStatus::Partial => Self::Partial,
            JobStatus::Cancelled => Self::Cancelled,
            JobStatus::TimedOut => Self::TimedOut,
            _ => Self::Failed,
        }
    }

    /// Of a refusal: a request that breaks a rule is the user's to mend, like a bad file.
    pub const fn refused(fault: &Fault) -> Self {
        match fault.code {
            FaultCode::Invalid | FaultCode::BadBody => Self::Usage,
            _ => Self::Refused,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
