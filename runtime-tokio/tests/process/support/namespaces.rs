//! Network namespaces, one a node, joined by a bridge: links that can go down, routes that swallow.

use std::process::{Command, Output};

/// Twelve nodes and more fit.
const SUBNET: &str = "10.77.0";

/// A bridge in a namespace of its own and a namespace for each node, all gone when dropped.
pub struct Namespaces {
    prefix: String,
    count: u8,
}

impl Namespaces {
    /// Makes `count` of them. `Err` says why this machine gives none.
    pub fn make(count: u8) -> Result<Self, String> {
        let made = Self { prefix: format!("tidegate-{}", std::process::id()), count };
        ip(&["netns", "add", &made.hub()])?;
        made.in_hub(&["link", "add", "bridge", "type", "bridge"])?;
        made.in_hub(&["link", "set", "bridge", "up"])?;
        for node in 0..count {
            let (own, port) = (made.name(node), port(node));
            ip(&["netns", "add", &own])?;
            made.in_hub(&["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &own])?;
            made.in_hub(&["link", "set", &port, "master", "bridge", "up"])?;
            ip(&["-n", &own, "addr", "add", &format!("{}/24", made.address(node)), "dev", "eth0"])?;
            ip(&["-n", &own, "link", "set", "eth0", "up"])?;
            ip(&["-n", &own, "link", "set", "lo", "up"])?;
        }
        Ok(made)
    }

    /// The address of a node.
    pub fn address(&self, node: u8) -> String {
        format!("{SUBNET}.{}", node + 1)
    }

    /// A command that runs in a node's namespace, as the very process that is started.
    pub fn command(&self, node: u8, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(node), program]);
        command
    }

    /// Takes a node's link down, or up again.
    pub fn link(&self, node: u8, state: &str) {
        self.in_hub(&["link", "set", &port(node), state]).unwrap();
    }

    /// From now on a node's packets to these others vanish (`add`), or do so no more (`del`).
    pub fn swallow(&self, verb: &str, node: u8, others: &[u8]) {
        for other in others {
            let route = format!("{}/32", self.address(*other));
            ip(&["-n", &self.name(node), "route", verb, "blackhole", &route]).unwrap();
        }
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.prefix)
    }

    fn name(&self, node: u8) -> String {
        format!("{}-{node}", self.prefix)
    }

    fn in_hub(&self, args: &[&str]) -> Result<Output, String> {
        let hub = self.hub();
        ip(&[&["-n", hub.as_str()], args].concat())
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // One that could not be made is not there; their links go with them.
        for name in (0..self.count).map(|node| self.name(node)).chain([self.hub()]) {
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

fn port(node: u8) -> String {
    format!("node{node}")
}

fn ip(args: &[&str]) -> Result<Output, String> {
    let done = Command::new("ip").args(args).output().map_err(|why| format!("no `ip` here: {why}"))?;
    if done.status.success() {
        return Ok(done);
    }
    Err(format!("`ip {}`: {}", args.join(" "), String::from_utf8_lossy(&done.stderr).trim()))
}
