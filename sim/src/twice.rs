//! Is a run a function of its plan? Two processes make the same run, and are compared step by step.
//!
//! The second process differs in all that must not matter: its environment, the addresses of its heap and stack, the
//! thread that it runs on, and that another world has run in it before. Each writes its running digest after every
//! step; the first that differs is the step where something leaked in. Then both tell what happened in that step.

use std::cell::RefCell;
use std::io::{BufReader, BufWriter, Read, Write};
use std::process::{Command, Stdio};
use std::rc::Rc;

use crate::plan::Plan;
use crate::world::{Machine, Trace, World};

/// How long the world runs that goes before in the second process, in simulated ms.
const BEFORE_MS: u64 = 2_000;

/// One of the two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// As it comes.
    Plain,
    /// Everything that must not matter is otherwise: see the module.
    Other,
}

/// What came out of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// So many steps, all equal.
    Equal(u64),
    /// They differ.
    Different {
        /// The first step, from 0, with another digest.
        step: u64,
        /// What happened in it, as each side tells it.
        told: [String; 2],
    },
}

/// Runs both sides and compares them. `command` makes the process of a side: one that writes [`digests`] to its
/// standard output or, where a step is given, tells it with [`teller`]. Its work is done by [`on_side`].
pub fn compare(command: &dyn Fn(Side, Option<u64>) -> Command) -> std::io::Result<Compared> {
    let start = |side, tell| {
        let mut command = command(side, tell);
        if side == Side::Other {
            command.envs([("LANG", "tr_TR.UTF-8"), ("TZ", "Pacific/Chatham"), ("RAYON_NUM_THREADS", "5")]);
            command.env("TIDEGATE_SIM_OTHER", "x".repeat(10_007));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
    };
    let mut children = [start(Side::Plain, None)?, start(Side::Other, None)?];
    let [one, two] = children.each_mut().map(|child| child.stdout.take().map(BufReader::new));
    let (Some(mut one), Some(mut two)) = (one, two) else {
        return Err(std::io::Error::other("a process has no output"));
    };
    let mut step = 0;
    let different = loop {
        match (next(&mut one)?, next(&mut two)?) {
            (None, None) => break false,
            (first, second) if first == second => step += 1,
            _ => break true,
        }
    };
    // After a difference the streams are closed early, and the processes end by that.
    drop((one, two));
    for child in &mut children {
        let status = child.wait()?;
        if !different && !status.success() {
            return Err(std::io::Error::other(format!("a process failed: {status}")));
        }
    }
    if !different {
        return Ok(Compared::Equal(step));
    }
    let mut told = [String::new(), String::new()];
    for (told, side) in told.iter_mut().zip([Side::Plain, Side::Other]) {
        *told = String::from_utf8_lossy(&start(side, Some(step))?.wait_with_output()?.stdout).into_owned();
    }
    Ok(Compared::Different { step, told })
}

fn next(stream: &mut impl Read) -> std::io::Result<Option<u64>> {
    let mut word = [0; 8];
    match stream.read_exact(&mut word) {
        Ok(()) => Ok(Some(u64::from_le_bytes(word))),
        Err(end) if end.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(why) => Err(why),
    }
}

/// Does the work of a side. On the other one: on another thread, after another world, with a heap full of holes.
pub fn on_side<M: Machine, T: Send>(side: Side, plan: &Plan, work: impl FnOnce() -> T + Send) -> T {
    if side == Side::Plain {
        return work();
    }
    let unsettled = || {
        let mut ballast: Vec<Vec<u8>> = (1..500).map(|n| vec![1; n * 37]).collect();
        ballast.retain(|block| block.len() % 2 == 0);
        let before = Plan { seed: plan.seed ^ 0x5eed, ..plan.clone() };
        if let Ok(mut world) = World::<M>::new(before, Vec::new()) {
            world.run_until(BEFORE_MS * 1_000_000);
        }
        let done = work();
        std::hint::black_box(&ballast);
        done
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(5 << 20).spawn_scoped(scope, unsettled);
        let thread = thread.expect("a process can have a second thread");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// For [`World::each_step`]: writes each digest to the standard output.
pub fn digests() -> Box<dyn FnMut(u64)> {
    let mut out = BufWriter::new(std::io::stdout());
    Box::new(move |digest| {
        // The reader is gone once it has seen a difference.
        if out.write_all(&digest.to_le_bytes()).is_err() {
            std::process::exit(0);
        }
    })
}

/// For [`World::trace`] and [`World::each_step`]: prints the story of one step, from 0, and ends the process.
pub fn teller(wanted: u64) -> (Trace, Box<dyn FnMut(u64)>) {
    let story = Rc::new(RefCell::new(Vec::new()));
    let trace = Trace::in_full(Box::new(Shared(Rc::clone(&story))));
    let mut step = 0;
    let each_step = move |_| {
        let lines = story.take();
        if step == wanted {
            print!("{}", String::from_utf8_lossy(&lines));
            std::process::exit(0);
        }
        step += 1;
    };
    (trace, Box::new(each_step))
}

struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
