//! Processes that are measured: their CPU time and memory, from `/proc`, and their end when this one ends.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// A child process. Dropping it kills it.
pub(crate) struct Child {
    name: &'static str,
    inner: std::process::Child,
    log: PathBuf,
}

impl Child {
    /// Starts `command` with its output in a file of `directory`. The kernel ends it with this process.
    pub(crate) fn start(name: &'static str, command: &Command, directory: &Path) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let mut kept = Command::new("setpriv");
        kept.args(["--pdeathsig", "KILL"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            kept.env(name, value.unwrap_or_default());
        }
        kept.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let inner = kept.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, inner, log })
    }

    pub(crate) fn id(&self) -> u32 {
        self.inner.id()
    }

    /// Waits until `is_so`, at most two minutes.
    pub(crate) fn wait_until(&mut self, mut is_so: impl FnMut() -> bool) -> Result<()> {
        for _ in 0..1_200 {
            if is_so() {
                return Ok(());
            }
            self.expect_running()?;
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("{} does not answer: {}", self.name, self.log_end())
    }

    pub(crate) fn expect_running(&mut self) -> Result<()> {
        if let Some(status) = self.inner.try_wait()? {
            bail!("{} has ended with {status}: {}", self.name, self.log_end());
        }
        Ok(())
    }

    /// CPU time of all its threads so far, user and system, seconds.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        // The name may hold anything, and ends with the last parenthesis; utime is the 14th field.
        let fields: Vec<&str> = stat.rsplit_once(')').context("/proc/PID/stat")?.1.split_whitespace().collect();
        let ticks: u32 =
            fields.get(11..13).context("/proc/PID/stat")?.iter().flat_map(|field| field.parse::<u32>()).sum();
        // USER_HZ is 100 on every architecture that Linux runs a broker on.
        Ok(f64::from(ticks) / 100.0)
    }

    /// The most memory it has had, bytes.
    pub(crate) fn peak_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn end(mut self) -> Result<ExitStatus> {
        Command::new("kill").args(["-TERM", &self.id().to_string()]).status()?;
        for _ in 0..600 {
            if let Some(status) = self.inner.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("{} does not end", self.name)
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.inner.kill());
        drop(self.inner.wait());
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> Result<u16> {
    for port in 21_000..32_000 {
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            // Not given twice before it is used.
            static TAKEN: std::sync::Mutex<Vec<u16>> = std::sync::Mutex::new(Vec::new());
            let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if !taken.contains(&port) {
                taken.push(port);
                return Ok(port);
            }
        }
    }
    bail!("no port is free")
}
