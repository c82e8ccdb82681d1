//! `tidegate-sim`: the simulator's command line.

fn main() -> std::process::ExitCode {
    tidegate_sim::cli::main()
}
