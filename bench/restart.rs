//! How long segue takes to be back at work: with the stores it left behind, and with none, as after a disk was lost.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::contender::{Contender, Task, start};

/// What each partition says once it is at work.
const AT_WORK: &str = "put to work";
/// A start that takes longer has failed.
const LONGEST: Duration = Duration::from_mins(20);

/// Ends segue, and starts it twice: as it was left, and without its stores.
pub(crate) fn measure(task: &Task<'_>, mut contender: Contender, out: &mut impl Write) -> Result<()> {
    let data = task.directory.join("segue-data");
    writeln!(out, "\n| | s | CPU s | peak memory MB | disk MB |\n|---|---:|---:|---:|---:|")?;
    for (what, keeps_stores) in [("its store there", true), ("its store lost", false)] {
        let began = Instant::now();
        contender.child.end()?;
        writeln!(out, "| ends | {:.1} | | | {} |", began.elapsed().as_secs_f64(), bytes_below(&data)? / 1_000_000)?;
        if !keeps_stores {
            fs::remove_dir_all(&data)?;
        }
        let began = Instant::now();
        contender = start("segue", task)?;
        let log = task.directory.join("segue.log");
        let n_partitions = usize::try_from(task.partitions)?;
        while fs::read_to_string(&log)?.matches(AT_WORK).count() < n_partitions {
            contender.child.expect_running()?;
            if began.elapsed() > LONGEST {
                bail!("segue is not at work after {LONGEST:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let (seconds, cpu) = (began.elapsed().as_secs_f64(), contender.child.cpu_seconds()?);
        let (peak, disk) = (contender.child.peak_bytes()? / 1_000_000, bytes_below(&data)? / 1_000_000);
        writeln!(out, "| starts, {what} | {seconds:.1} | {cpu:.1} | {peak} | {disk} |")?;
    }
    contender.child.end()?;
    Ok(())
}

/// What the files of a directory and of those in it take, bytes.
fn bytes_below(directory: &std::path::Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_directory = entry.file_type()?.is_dir();
        sum += if is_directory { bytes_below(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}
