//! What init makes can be used, and what is there stays.

use super::*;
use crate::config;
use crate::net::{KeyRing, NodeTls};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn every_made_configuration_loads_with_its_keys() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("cluster");
    let made = init(&target, &InitOptions { gates: 3, managers: 3, ..InitOptions::default() }).unwrap();
    assert_eq!(made.nodes.len(), 3 + 2 * (3 + 2));
    assert_eq!(made.gate_urls.len(), 3);
    for (role, path) in &made.nodes {
        let file = config::load(path, *role).unwrap_or_else(|error| panic!("{error}"));
        let tls = NodeTls::load(&file.authority, &file.certificate, &file.key).unwrap();
        assert_eq!((tls.claims.role, &tls.claims.name), (*role, &file.name));
        KeyRing::load(&file.gossip_key_file).unwrap();
        for secret in [&file.key, &file.gossip_key_file, &made.token_file] {
            assert_eq!(
                fs::metadata(secret).unwrap().permissions().mode() & 0o777,
                0o600,
                "{}",
                secret.display()
            );
        }
    }
}

#[test]
fn what_exists_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine"), "precious").unwrap();
    assert!(matches!(init(dir.path(), &InitOptions::default()), Err(InitError::Exists(_))));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_cluster_that_could_not_work_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    for options in [
        InitOptions { gates: 0, ..InitOptions::default() },
        InitOptions { managers: 2, ..InitOptions::default() },
        InitOptions { cluster: "a/b".into(), ..InitOptions::default() },
        InitOptions { first_port: 65_530, ..InitOptions::default() },
    ] {
        let target = dir.path().join("x");
        assert!(matches!(init(&target, &options), Err(InitError::Options(_))), "{options:?}");
        assert!(!target.exists());
    }
}
