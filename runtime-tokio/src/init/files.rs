//! The files of a new cluster.

use std::fmt::{self, Write as _};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tidegate_core::id::{DcId, Role};

use super::authority::{Authority, AuthorityError, random_hex};
use crate::config::is_name;
use crate::net::Claims;

/// How large a cluster, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitOptions {
    /// The cluster's name.
    pub cluster: String,
    /// Gates.
    pub gates: u16,
    /// Datacenters.
    pub datacenters: u16,
    /// Managers in each datacenter.
    pub managers: u16,
    /// Workers in each datacenter.
    pub workers: u16,
    /// First port on loopback; each node takes the next, each gate one more for its API.
    pub first_port: u16,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self { cluster: "local".into(), gates: 1, datacenters: 2, managers: 1, workers: 2, first_port: 7600 }
    }
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Role and configuration file of every node, in the order in which they may be started.
    pub nodes: Vec<(Role, PathBuf)>,
    /// URL of each gate's API.
    pub gate_urls: Vec<String>,
    /// The file with the API token.
    pub token_file: PathBuf,
}

/// Why nothing, or not everything, was made.
#[derive(Debug)]
pub enum InitError {
    /// The options make no cluster.
    Options(String),
    /// Something is there already.
    Exists(PathBuf),
    /// A file cannot be written.
    Io(PathBuf, io::Error),
    /// Certificates cannot be made.
    Authority(AuthorityError),
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(why) => f.write_str(why),
            Self::Exists(path) => {
                write!(
                    f,
                    "{} exists and is not empty; init never overwrites, name a new folder",
                    path.display()
                )
            }
            Self::Io(path, error) => write!(f, "cannot write {}: {error}", path.display()),
            Self::Authority(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for InitError {}

impl From<AuthorityError> for InitError {
    fn from(error: AuthorityError) -> Self {
        Self::Authority(error)
    }
}

/// A node that is to be.
struct Planned {
    claims: Claims,
    folder: String,
    port: u16,
    api_port: Option<u16>,
}

/// Makes the files of a cluster in `dir`, which must not exist or be empty.
pub fn init(dir: &Path, options: &InitOptions) -> Result<Made, InitError> {
    let plan = plan(options)?;
    let io = |error| InitError::Io(dir.to_owned(), error);
    fs::create_dir_all(dir).map_err(io)?;
    if fs::read_dir(dir).map_err(io)?.next().is_some() {
        return Err(InitError::Exists(dir.to_owned()));
    }
    let authority = Authority::new(&options.cluster)?;
    write(&dir.join("authority.pem"), &authority.certificate(), Access::All)?;
    write(&dir.join("authority.key"), &authority.key(), Access::Owner)?;
    write(&dir.join("gossip.key"), &format!("{}\n", random_hex()?), Access::Owner)?;
    let token_file = dir.join("api.token");
    write(&token_file, &format!("{}\n", random_hex()?), Access::Owner)?;
    let roster = roster(&plan);
    let mut made = Made { nodes: Vec::new(), gate_urls: Vec::new(), token_file };
    for node in &plan {
        let folder = dir.join(&node.folder);
        fs::create_dir(&folder).map_err(|error| InitError::Io(folder.clone(), error))?;
        let issued = authority.issue(&node.claims)?;
        write(&folder.join("node.pem"), &issued.certificate, Access::All)?;
        write(&folder.join("node.key"), &issued.key, Access::Owner)?;
        let config = folder.join("node.toml");
        write(&config, &config_text(node, options, &roster), Access::All)?;
        made.nodes.push((node.claims.role, config));
        made.gate_urls.extend(node.api_port.map(|port| format!("http://127.0.0.1:{port}")));
    }
    Ok(made)
}

fn plan(options: &InitOptions) -> Result<Vec<Planned>, InitError> {
    let wrong = |why: &str| Err(InitError::Options(why.to_owned()));
    let InitOptions { cluster, gates, datacenters, managers, workers, first_port } = options;
    if !is_name(cluster) {
        return wrong(
            "a cluster's name is 1 to 64 of a-z, A-Z, 0-9, '-', '_' and '.', not beginning with '.'",
        );
    }
    if [gates, datacenters, managers, workers].into_iter().any(|count| *count == 0) {
        return wrong("a cluster needs at least one gate, datacenter, manager and worker");
    }
    if *gates == 2 || *managers == 2 {
        return wrong("two voters form a tier that the loss of either one stops; have one or three");
    }
    let per_dc = u64::from(*managers) + u64::from(*workers);
    let ports = 2 * u64::from(*gates) + u64::from(*datacenters) * per_dc;
    if *first_port == 0 || u64::from(*first_port) + ports > 65_536 {
        return Err(InitError::Options(format!("{ports} ports from {first_port} on do not exist")));
    }
    let mut port = *first_port;
    let mut next_port = || {
        let this = port;
        port = port.wrapping_add(1);
        this
    };
    let mut nodes = Vec::new();
    let claims = |role, dc, name: String| Claims { cluster: cluster.clone(), role, dc, name };
    for gate in 1..=*gates {
        let name = format!("gate-{gate}");
        let (port, api_port) = (next_port(), Some(next_port()));
        nodes.push(Planned {
            claims: claims(Role::Gate, DcId::NONE, name.clone()),
            folder: name,
            port,
            api_port,
        });
    }
    for place in 1..=*datacenters {
        let dc_name = format!("dc-{place}");
        let dc = DcId::new(&dc_name).expect("a valid name");
        let managers = (1..=*managers).map(|number| (Role::Manager, format!("manager-{number}")));
        let workers = (1..=*workers).map(|number| (Role::Worker, format!("worker-{number}")));
        for (role, name) in managers.chain(workers) {
            let folder = format!("{dc_name}-{name}");
            nodes.push(Planned { claims: claims(role, dc, name), folder, port: next_port(), api_port: None });
        }
    }
    Ok(nodes)
}

/// The lists of gates and managers, the same in every file.
fn roster(plan: &[Planned]) -> String {
    let mut text = String::new();
    let entry =
        |node: &Planned| format!("name = {:?}\naddress = \"127.0.0.1:{}\"\n", node.claims.name, node.port);
    for gate in plan.iter().filter(|node| node.claims.role == Role::Gate) {
        let _ = write!(text, "\n[[gates]]\n{}", entry(gate));
    }
    let mut dc = DcId::NONE;
    for manager in plan.iter().filter(|node| node.claims.role == Role::Manager) {
        if manager.claims.dc != dc {
            dc = manager.claims.dc;
            let _ = write!(text, "\n[[datacenters]]\nname = \"{dc}\"\n");
        }
        let _ = write!(text, "\n[[datacenters.managers]]\n{}", entry(manager));
    }
    text
}

fn config_text(node: &Planned, options: &InitOptions, roster: &str) -> String {
    let Claims { role, dc, name, .. } = &node.claims;
    let mut text = format!("# A {} of the cluster {:?}.\n", role.as_str(), options.cluster);
    let _ = writeln!(text, "cluster = {:?}\nname = {name:?}", options.cluster);
    if *dc != DcId::NONE {
        let _ = writeln!(text, "dc = \"{dc}\"");
    }
    let _ = writeln!(text, "data_dir = \"data\"\nlisten = \"127.0.0.1:{}\"", node.port);
    text.push_str(
        "\n[tls]\nauthority = \"../authority.pem\"\ncertificate = \"node.pem\"\nkey = \"node.key\"\n",
    );
    text.push_str("\n[gossip]\nkey_file = \"../gossip.key\"\n");
    if let Some(port) = node.api_port {
        let _ = write!(text, "\n[api]\nlisten = \"127.0.0.1:{port}\"\n");
        text.push_str(
            "\n[[api.tokens]]\ntenant = \"default\"\nrole = \"operator\"\nfile = \"../api.token\"\n",
        );
    }
    if *role == Role::Worker {
        text.push_str("\n[worker]\nexecutors = [\"http\", \"sleep\"] # add \"command\" to let jobs start processes here\n");
    }
    text.push_str(roster);
    text
}

enum Access {
    All,
    Owner,
}

/// Writes a new file; an existing one is an error.
fn write(path: &Path, text: &str, access: Access) -> Result<(), InitError> {
    let mode = match access {
        Access::All => 0o644,
        Access::Owner => 0o600,
    };
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| InitError::Io(path.to_owned(), error))
}
