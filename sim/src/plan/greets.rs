//! How a node greets where that is not as it should be: another cluster, version or role, or fewer features.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::id::Role;

use super::BadPlan;

/// What differs in a node's greetings, and in the marks of its datagrams. Of the node itself nothing differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Greets {
    /// The cluster that it believes to belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The major version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub major: Option<u8>,
    /// The minor version. What a later one than this build's sends has fields that nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor: Option<u16>,
    /// The features that it claims, known or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<String>>,
    /// The role that it claims: `gate`, `manager` or `worker`. Its certificate says the true one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// It shows no certificate.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_certificate: bool,
}

impl Greets {
    /// The role that it claims.
    pub fn claimed_role(&self) -> Option<Role> {
        let claimed = self.role.as_deref()?;
        [Role::Gate, Role::Manager, Role::Worker].into_iter().find(|role| role.as_str() == claimed)
    }

    pub(super) fn check(&self) -> Result<(), BadPlan> {
        match &self.role {
            Some(role) if self.claimed_role().is_none() => {
                Err(BadPlan(format!("greets: there is no role {role:?}; there are: gate, manager, worker")))
            }
            _ => Ok(()),
        }
    }
}
