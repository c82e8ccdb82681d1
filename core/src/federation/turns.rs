//! When a gate asks whom: probes of several gates, and of one gate to several datacenters, are spread over the period.

use alloc::collections::BTreeMap;

use crate::config::NodeConfig;
use crate::id::NodeId;
use crate::link::Links;
use crate::time::Duration;

/// When within each period this gate pings which manager. A gate goes through the datacenters one after another; at each
/// datacenter the gates come one after another, and within their distance its managers. So no two gates that began
/// together ask one datacenter at once, and no gate asks all datacenters at once.
pub fn turns(config: &NodeConfig) -> BTreeMap<NodeId, Duration> {
    let (gates, dcs) = (&config.roster.gates, &config.roster.datacenters);
    let own = gates.iter().position(|gate| gate.node == config.node).unwrap_or(0);
    let part = |place: usize, of: usize| Links::PERIOD.scale(place as u64, of.max(1) as u64);
    let turn = |dc: usize, manager: usize, managers: usize| {
        part(own, gates.len()) + part(dc, dcs.len()) + part(manager, managers * gates.len().max(1))
    };
    let of_dc = dcs.iter().enumerate().flat_map(|(place, datacenter)| {
        let managers = datacenter.managers.iter().enumerate();
        managers.map(move |(ix, manager)| (manager.node, turn(place, ix, datacenter.managers.len())))
    });
    of_dc.collect()
}
