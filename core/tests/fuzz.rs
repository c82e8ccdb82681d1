//! The fuzz targets about the core (`fuzz/`), with a bounded number of inputs that are always the same.

#[path = "../../fuzz/src/cbor.rs"]
mod cbor;
#[path = "../../fuzz/src/input.rs"]
mod input;
#[path = "../../fuzz/src/mill.rs"]
mod mill;
#[path = "../../fuzz/src/rows.rs"]
mod rows;
#[path = "../../fuzz/src/samples.rs"]
mod samples;
#[path = "../../fuzz/src/steps/mod.rs"]
mod steps;
#[path = "../../fuzz/src/wire.rs"]
mod wire;

#[test]
fn the_decoder_takes_any_bytes() {
    let seeds: Vec<_> = samples::all().into_iter().map(|(_, bytes)| bytes).collect();
    mill::feed(&seeds, 20_000, wire::run);
}

#[test]
fn nodes_take_any_steps() {
    let ends: Vec<usize> = steps::seeds().iter().map(|seed| steps::ends(seed)).collect();
    assert!(ends.iter().all(|&ends| ends > 0), "every seed brings a job to its end: {ends:?}");
    mill::feed(&steps::seeds(), 30, steps::run);
    mill::feed(&mill::noise(40, 600), 0, steps::run);
}

#[test]
fn damaged_rows_are_read_or_refused() {
    mill::feed(&mill::noise(1_000, 24), 0, rows::run);
}
