//! Writes the seeds of every target below `corpus/`: golden vectors, job files, scenario files, short histories.

use std::path::{Path, PathBuf};
use std::{fs, io};

use tidegate_fuzz::{mill, samples, steps};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let texts = |folders: &[&str]| -> io::Result<Vec<Vec<u8>>> {
        let mut files = Vec::new();
        for folder in folders {
            find(&root.join("..").join(folder), &mut files)?;
        }
        files.iter().map(fs::read).collect()
    };
    write(root, "wire", samples::all().into_iter().map(|(_, bytes)| bytes))?;
    write(root, "steps", steps::seeds().into_iter().chain(mill::noise(64, 400)))?;
    write(root, "rows", mill::noise(64, 24).into_iter())?;
    write(root, "job_file", texts(&["examples", "runtime-tokio/src/jobfile/bad"])?.into_iter())?;
    write(
        root,
        "scenario_file",
        texts(&["scenarios/G", "scenarios/M", "scenarios/W", "scenarios/X", "scenarios/P"])?.into_iter(),
    )
}

/// All TOML files below a folder, if it is there.
fn find(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

fn write(root: &Path, target: &str, seeds: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
    let folder = root.join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    for (place, bytes) in seeds.enumerate() {
        fs::write(folder.join(format!("seed-{place:03}")), bytes)?;
    }
    Ok(())
}
