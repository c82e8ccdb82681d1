//! The scenario file: any text gives cases or a reason, and the cases that it gives are plans of worlds.

use std::path::Path;

use tidegate_core::Node;
use tidegate_sim::scenario::{Case, parse};
use tidegate_sim::world::World;

/// The target.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse(Path::new("fuzzed.toml"), text) {
        Ok(cases) => {
            for case in cases {
                let world = World::<Node>::new(case.plan(1), case.spectators());
                assert!(world.is_ok(), "a case that is accepted can be run: {:?}", world.err());
            }
        }
        Err(bad) => assert!(!bad.why.is_empty(), "a refusal says why"),
    }
}
