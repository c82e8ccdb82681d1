//! Nine planted sources of nondeterminism: the check that `tidegate-sim verify` makes catches each, and names the step.
//!
//! Each is the real node in a wrapper that, in one step of the gate, lets something leak into an observation, a message
//! or a timer. The comparison is that of `verify`: two processes, step by step. It is worth something only if it stays
//! quiet about a machine that leaks nothing, which is the tenth.
//!
//! The test starts itself as the processes that are compared, so it has no harness.

mod leaky;
mod sources;

use std::cell::Cell;
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::time::Instant;

use tidegate_core::observe::Observation;
use tidegate_sim::plan::Plan;
use tidegate_sim::twice::{self, Compared, Side};
use tidegate_sim::world::{Fact, Interest, Scene, Spectator, World};

use leaky::{Into, LEAK, LEAKING_NODE, Leak, Leaky};
use sources::{
    Address, Clock, Counter, Entropy, Environment, FloatOrder, HashOrder, Nothing, StaleBytes, ThreadOrder,
};

/// The world: a gate, a manager, a worker, and a job that they run.
const PLAN: &str = r#"
seed = 11
run = { faults_end_ms = 3000 }
[cluster]
gates = 1
[[cluster.datacenter]]
name = "dc-a"
managers = 1
worker = [{ cores = 2 }]
[[client]]
name = "c1"
[[client.job]]
name = "j1"
when = { at_ms = 500 }
workflow = [{ name = "nap", duration_ms = 300 }]
"#;

fn plan() -> Plan {
    Plan::from_toml(PLAN).expect("it is sound")
}

/// One source, as a row of what is tried.
struct Row {
    name: &'static str,
    into: Into,
    sound: bool,
    /// The process that is compared.
    child: fn(Side, Option<u64>),
    /// In which step the leak happens.
    step: fn() -> u64,
}

const fn row<L: Leak>() -> Row {
    Row { name: L::NAME, into: L::INTO, sound: L::SOUND, child: child::<L>, step: leaking_step::<L> }
}

const ROWS: [Row; 10] = [
    row::<HashOrder>(),
    row::<Counter>(),
    row::<Address>(),
    row::<Entropy>(),
    row::<Clock>(),
    row::<ThreadOrder>(),
    row::<Environment>(),
    row::<FloatOrder>(),
    row::<StaleBytes>(),
    row::<Nothing>(),
];

fn child<L: Leak>(side: Side, tell: Option<u64>) {
    let plan = plan();
    twice::on_side::<Leaky<L>, _>(side, &plan, || {
        let mut world = World::<Leaky<L>>::new(plan.clone(), Vec::new()).expect("the plan is sound");
        match tell {
            Some(step) => {
                let (trace, each_step) = twice::teller(step);
                world.trace(trace);
                world.each_step(each_step);
            }
            None => world.each_step(twice::digests()),
        }
        world.run();
    });
}

/// Notes after how many steps a leak was seen.
struct Watch {
    steps: Rc<Cell<u64>>,
    seen_at: Rc<Cell<Option<u64>>>,
}

impl Spectator for Watch {
    fn name(&self) -> &'static str {
        "watch"
    }
    fn interest(&self) -> Interest {
        Interest::OBSERVATIONS
    }
    fn see(&mut self, _: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::Observed { observation: Observation::StateDigest { index: LEAK, .. }, .. } = fact {
            self.seen_at.set(Some(self.steps.get()));
        }
        Ok(())
    }
}

fn leaking_step<L: Leak>() -> u64 {
    let (steps, seen_at) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
    let watch = Watch { steps: Rc::clone(&steps), seen_at: Rc::clone(&seen_at) };
    let mut world = World::<Leaky<L>>::new(plan(), vec![Box::new(watch)]).expect("the plan is sound");
    world.each_step(Box::new(move |_| steps.set(steps.get() + 1)));
    let verdict = world.run();
    assert_eq!(verdict.violation, None, "the job is run beside the leak");
    seen_at.get().expect("the leak happens")
}

fn compare(row: &Row) -> Compared {
    let program = std::env::current_exe().expect("the test has a file");
    let command = |side, tell: Option<u64>| {
        let mut command = Command::new(&program);
        command.args(["--be", row.name, if side == Side::Other { "other" } else { "plain" }]);
        command.args(tell.map(|step| step.to_string()));
        command
    };
    twice::compare(&command).expect("two processes can run")
}

/// What is wrong with what the comparison said, if anything.
fn judge(row: &Row, compared: &Compared) -> Result<(), String> {
    let (step, told) = match compared {
        Compared::Equal(steps) if row.sound && *steps > 100 => return Ok(()),
        Compared::Equal(steps) => return Err(format!("{steps} steps, and no difference")),
        Compared::Different { step, told } => (*step, told),
    };
    let leaks_at = (row.step)();
    let named = match row.into {
        // A timer shows when it goes off.
        Into::Timer => step > leaks_at,
        Into::Observation | Into::Message => step == leaks_at,
    };
    if row.sound || !named {
        return Err(format!("step {step} differs, and it leaks in step {leaks_at}"));
    }
    if told[0] == told[1] || !told.iter().any(|told| told.contains(LEAKING_NODE)) {
        return Err(format!("step {step} differs, and this is told of it:\n{}{}", told[0], told[1]));
    }
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, be, name, side, tell @ ..] = args.as_slice()
        && be == "--be"
    {
        let row = ROWS.iter().find(|row| row.name == name).expect("a source of this name");
        let side = if side == "other" { Side::Other } else { Side::Plain };
        (row.child)(side, tell.first().and_then(|step| step.parse().ok()));
        return ExitCode::SUCCESS;
    }
    let mut failed = false;
    for row in &ROWS {
        let begin = Instant::now();
        let compared = compare(row);
        let took_ms = begin.elapsed().as_millis();
        let verdict = judge(row, &compared);
        let said = match &compared {
            Compared::Equal(steps) => format!("{steps} steps, equal"),
            Compared::Different { step, .. } => format!("step {step} differs"),
        };
        println!(
            "{:<14} {said:<22} {took_ms:>5} ms  {}",
            row.name,
            verdict.as_ref().err().map_or("ok", |why| why)
        );
        failed |= verdict.is_err();
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
