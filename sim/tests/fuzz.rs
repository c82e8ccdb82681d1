//! The fuzz target about scenario files (`fuzz/`), with a bounded number of inputs that are always the same.

#[path = "../../fuzz/src/mill.rs"]
mod mill;
#[path = "../../fuzz/src/scenario_file.rs"]
mod scenario_file;

#[test]
fn any_text_is_cases_or_a_reason() {
    let seed = include_bytes!("../../scenarios/G/01-dispatch.toml").to_vec();
    mill::feed(&[seed[..seed.len().min(4_000)].to_vec(), seed], 300, scenario_file::run);
}
