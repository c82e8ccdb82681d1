//! Configuration files of the roles (`docs/configuration.md`).
//!
//! In: a TOML file. Out: a [`NodeFile`] in which everything is checked, paths are absolute to the file's folder and
//! defaults are filled in; or a [`ConfigError`] that names the place and what would be right. Never starts anything and
//! never reads a secret.

mod check;
mod error;
mod schema;
mod secret;
#[cfg(test)]
mod tests;
mod values;

pub use check::{
    ApiSettings, LogFormat, LogSettings, Member, NamedDatacenter, NamedRoster, NodeFile, TokenSource,
};
pub use error::ConfigError;
pub use schema::{HttpPolicy, SecretSource};
pub use values::{Span, is_name};

use std::path::Path;

use tidegate_core::id::Role;

/// Reads and checks the configuration of a node that is to run in `role`.
pub fn load(path: &Path, role: Role) -> Result<NodeFile, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::unreadable(path, &error))?;
    parse(path, &text, role)
}

/// Checks a configuration's text. `path` names it and is what relative paths in it are relative to.
pub fn parse(path: &Path, text: &str, role: Role) -> Result<NodeFile, ConfigError> {
    let file: schema::File =
        toml::from_str(text).map_err(|error| ConfigError::from_toml(path, text, &error))?;
    check::check(path, file, role).map_err(|wrong| ConfigError::at(path, text, wrong.span, wrong.message))
}

/// The configuration of a node that knows nobody else and offers nothing, for tests.
#[cfg(test)]
pub(crate) fn single_node(
    cluster: &str,
    role: Role,
    dc: tidegate_core::id::DcId,
    name: &str,
) -> tidegate_core::config::NodeConfig {
    use tidegate_core::config::{Limits, NodeConfig, Offer, Peer, Roster, Timing};
    let node = tidegate_core::id::NodeId::derive(cluster, role, dc.as_str(), name);
    let addr = crate::net::to_addr("127.0.0.1:7601".parse().expect("a valid address"));
    let me = Peer { node, name: name.into(), addr };
    NodeConfig {
        cluster: cluster.into(),
        role,
        dc,
        name: name.into(),
        node,
        addr,
        roster: Roster { gates: vec![me], datacenters: Vec::new() },
        offer: Offer::default(),
        timing: Timing::for_role(role),
        limits: Limits::default(),
        allow_two_voters: false,
        minor: tidegate_core::wire::MINOR,
    }
}
