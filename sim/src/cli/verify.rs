//! `verify`: is a run a function of its plan?
//!
//! Each seed runs in two processes of this program, which differ in everything that must not matter: addresses, load,
//! scheduling. Each writes its digest after every step; the first that differs is the step where something leaked in.

use std::cell::RefCell;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use super::run::DEFAULT_PATH;
use super::{Outcome, Trouble, subject};
use crate::plan::Plan;
use crate::runner::{self, Extras};
use crate::scenario::load;
use crate::swarm::draw;
use crate::world::Trace;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files and folders with cases; without any, those in `scenarios`, and as many seeds of the swarm.
    paths: Vec<PathBuf>,
    /// How many seeds of each.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, clap::Args)]
pub(super) struct StepsArgs {
    /// The file with the case; the swarm where absent.
    file: Option<PathBuf>,
    /// Which case.
    #[arg(long, value_name = "ID")]
    case: Option<String>,
    /// Which seed.
    #[arg(long)]
    seed: u64,
    /// Tell what happened in this step, from 0, instead of writing digests.
    #[arg(long)]
    tell: Option<u64>,
}

/// What is run twice.
struct Subject {
    name: String,
    args: Vec<String>,
}

pub(super) fn run(args: &Args) -> Outcome {
    let default = [PathBuf::from(DEFAULT_PATH)];
    let given = !args.paths.is_empty();
    let paths: &[PathBuf] = match () {
        () if given => &args.paths,
        () if default[0].is_dir() => &default,
        () => &[],
    };
    let mut subjects = Vec::new();
    let seeds = args.seed..args.seed.saturating_add(args.seeds);
    for case in load(paths)? {
        for seed in seeds.clone() {
            let file = case.file().display().to_string();
            let words = [file, "--case".into(), case.id().into(), "--seed".into(), seed.to_string()];
            subjects.push(Subject { name: format!("{} seed {seed}", case.id()), args: words.to_vec() });
        }
    }
    for seed in seeds.filter(|_| !given) {
        subjects.push(Subject {
            name: format!("swarm seed {seed}"),
            args: vec!["--seed".into(), seed.to_string()],
        });
    }
    let mut same = true;
    for subject in &subjects {
        same &= compare(subject)?;
    }
    println!("{} runs, each in two processes: {}", subjects.len(), if same { "equal" } else { "DIFFERENT" });
    Ok(same)
}

fn compare(subject: &Subject) -> Result<bool, Trouble> {
    let mut children = [start(subject, None)?, start(subject, None)?];
    let mut streams = Vec::new();
    for child in &mut children {
        streams.extend(child.stdout.take().map(BufReader::new));
    }
    let [one, two] = streams.as_mut_slice() else {
        return Err(Trouble("a process has no output".into()));
    };
    let mut step = 0u64;
    let different = loop {
        match (next(one)?, next(two)?) {
            (None, None) => break false,
            (first, second) if first == second => step += 1,
            _ => break true,
        }
    };
    drop(streams);
    for child in &mut children {
        // After a difference the streams are closed early, and the processes end by that.
        let status = child.wait()?;
        if !different && !status.success() {
            return Err(Trouble(format!("{}: a process failed: {status}", subject.name)));
        }
    }
    if different {
        println!("{}: step {step} differs", subject.name);
        for _ in 0..2 {
            let told = start(subject, Some(step))?.wait_with_output()?;
            print!("{}", String::from_utf8_lossy(&told.stdout));
        }
    } else {
        println!("{}: {step} steps, equal", subject.name);
    }
    Ok(!different)
}

fn start(subject: &Subject, tell: Option<u64>) -> Result<Child, Trouble> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("steps")
        .args(&subject.args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(step) = tell {
        command.args(["--tell", &step.to_string()]);
    }
    Ok(command.spawn()?)
}

fn next(stream: &mut impl Read) -> Result<Option<u64>, Trouble> {
    let mut word = [0; 8];
    match stream.read_exact(&mut word) {
        Ok(()) => Ok(Some(u64::from_le_bytes(word))),
        Err(end) if end.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(why) => Err(why.into()),
    }
}

/// One run, with its digests or the story of one step on the standard output.
pub(super) fn steps(args: &StepsArgs) -> Outcome {
    let (plan, spectators): (Plan, _) = match &args.file {
        Some(file) => {
            let case = subject::find(file, args.case.as_deref())?;
            (case.plan(args.seed), case.spectators())
        }
        None => (draw(args.seed), Vec::new()),
    };
    let mut extras = Extras { spectators, ..Extras::default() };
    if let Some(step) = args.tell {
        tell_step(step, &mut extras);
    } else {
        let mut out = BufWriter::new(std::io::stdout());
        extras.each_step = Some(Box::new(move |digest| {
            // The reader is gone once it has seen a difference.
            if out.write_all(&digest.to_le_bytes()).is_err() {
                std::process::exit(0);
            }
        }));
    }
    runner::run(plan, extras)?;
    // That the run was a success or not is no matter here.
    Ok(true)
}

/// Keeps the story of each step until the next, and prints the one that is wanted.
fn tell_step(wanted: u64, extras: &mut Extras) {
    let story = Rc::new(RefCell::new(Vec::new()));
    extras.trace = Some(Trace::new(Box::new(Shared(Rc::clone(&story)))));
    let mut step = 0;
    extras.each_step = Some(Box::new(move |_| {
        let lines = story.take();
        if step == wanted {
            print!("{}", String::from_utf8_lossy(&lines));
            std::process::exit(0);
        }
        step += 1;
    }));
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
