//! The fuzz target about scenario files (`fuzz/`), with a bounded number of inputs that are always the same.

#[path = "../../fuzz/src/mill.rs"]
mod mill;
#[path = "../../fuzz/src/scenario_file.rs"]
mod scenario_file;

#[test]
fn any_text_is_cases_or_says_what_is_wrong() {
    let seeds = [
        &include_bytes!("../../scenarios/G/10-completion.toml")[..],
        include_bytes!("../../scenarios/W/06-worker-loss.toml"),
        include_bytes!("bad/no-cluster.toml"),
    ];
    mill::feed(&seeds.map(<[u8]>::to_vec), 500, scenario_file::run);
}
