//! The digests of a debug build are those that are kept, which a release build is held to by `tidegate-sim golden`.
//!
//! And they are so in processes that differ in what must not matter: the seeds of the standard library's hash tables
//! (each process has its own), addresses, the environment, the number of threads.

use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_sim::golden::{self, FILE};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

#[test]
fn the_kept_digests_hold_in_unlike_processes() {
    let large = "x".repeat(60_001);
    for (threads, environment) in [("1", large.as_str()), ("5", "")] {
        let command = Command::new(env!("CARGO_BIN_EXE_tidegate-sim"))
            .arg("golden")
            .arg(folder())
            .args(["--jobs", threads])
            .env("TIDEGATE_SIM_OTHER", environment)
            .output()
            .expect("the program runs");
        let said = String::from_utf8_lossy(&command.stdout);
        assert!(command.status.success(), "with {threads} threads: {said}");
        assert!(said.contains(": 0 differ"), "{said}");
    }
}

#[test]
fn a_digest_that_is_not_the_kept_one_fails() {
    let kept = golden::parse(&std::fs::read_to_string(folder().join(FILE)).expect("it is there"))
        .expect("its lines are sound");
    let seeds = kept.iter().filter(|line| line.name == "swarm").count() as u64;
    assert_eq!(seeds, golden::SEEDS);
    assert!(kept.len() > golden::SEEDS as usize + 4, "some cases are among them");
    let mut now = golden::compute(&folder(), 2).expect("the files are sound");
    now.retain(|line| line.name == "swarm");
    assert_eq!(golden::differences(&kept[..2], &now), Vec::<String>::new());
    now[1].digest ^= 1;
    assert_eq!(golden::differences(&kept[..2], &now).len(), 1);
}
