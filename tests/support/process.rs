//! A server as a child process: its ports, its log, its signals, and its end when the test ends.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// How often and how long a starting server is asked whether it answers: three minutes, for a machine with other
/// work to do.
const TRIES: u32 = 1800;
const PAUSE: Duration = Duration::from_millis(100);

/// A running server. Dropping it kills it.
pub struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// The processor time a process has used, seconds.
pub fn cpu_seconds_of(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // Ticks of user and system time; Linux has a hundred of them in a second.
    let ticks: f64 = fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

impl Server {
    /// Starts `command` with its output appended to `log`.
    pub fn start(name: &'static str, mut command: Command, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let child = spawn_kept(command).unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { name, child, log: log.to_path_buf() }
    }

    /// Waits until `answers` says so; a server that ends before that, or never answers, fails the test with its log.
    pub fn wait_until(&mut self, mut answers: impl FnMut() -> bool) {
        for _ in 0..TRIES {
            if answers() {
                return;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended with {status} while starting; its log ends:\n{}", self.name, self.log_end());
            }
            thread::sleep(PAUSE);
        }
        panic!("{} does not answer; its log ends:\n{}", self.name, self.log_end());
    }

    /// Sends a signal by its name without `SIG`.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success(), "{} could not be sent SIG{signal}: it is not running", self.name);
    }

    /// Kills it without a chance to say goodbye, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ends by itself; gives its exit code.
    pub fn ended(&mut self) -> i32 {
        for _ in 0..TRIES {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            thread::sleep(PAUSE);
        }
        panic!("{} does not end; its log ends:\n{}", self.name, self.log_end());
    }

    /// Waits until it has halted itself.
    pub fn halted(&mut self) {
        let status = format!("/proc/{}/stat", self.child.id());
        for _ in 0..TRIES {
            let state = fs::read_to_string(&status).unwrap_or_default();
            if state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')) {
                return;
            }
            assert!(self.is_running(), "{} has ended; its log ends:\n{}", self.name, self.log_end());
            thread::sleep(PAUSE);
        }
        panic!("{} does not halt; its log ends:\n{}", self.name, self.log_end());
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The processor time it has used, seconds.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds_of(self.child.id())
    }

    /// The most memory it has had, bytes.
    pub fn peak_memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    }

    /// Whether its output says this.
    pub fn has_said(&self, words: &str) -> bool {
        fs::read_to_string(&self.log).unwrap_or_default().contains(words)
    }

    /// The last lines of its output.
    pub fn log_end(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Not `kill()`: a panic in here would hide the one that failed the test.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Java with the options that make a short-lived, small server; killed by the kernel when the test process ends, even when
/// it is killed itself. A server that is killed leaves behind what it unpacked, in `directory`.
pub fn java(directory: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    command.arg(format!("-Djava.io.tmpdir={}", directory.display()));
    command
}

/// Where `./dev setup` put a server: named by the environment, else the cache directory.
pub fn home(variable: &str, name: &str) -> PathBuf {
    let home = std::env::var_os(variable).map_or_else(|| cache().join(name), PathBuf::from);
    assert!(
        home.is_dir(),
        "this test needs a real {name}, and there is none at {}: run `./dev setup` once, or all tests with `./dev test`",
        home.display()
    );
    home
}

/// Where `./dev setup` put the Kafka clients of other languages.
pub fn clients_home() -> PathBuf {
    home("SEGUE_CLIENTS_HOME", "clients")
}

fn cache() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    variable("SEGUE_CACHE")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("segue")))
        .or_else(|| Some(variable("HOME")?.join(".cache/segue")))
        .expect("one of SEGUE_CACHE, XDG_CACHE_HOME and HOME is set")
}

/// A port that nobody listens on, from below the range that the kernel gives to outgoing connections: there, a client
/// that keeps trying to reach a killed server would sooner or later be given the server's own port.
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test binaries that run side by side start from different places.
    let start = u16::try_from(std::process::id() % u32::from(COUNT / 16)).unwrap() * 16;
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free between {FIRST} and {}", FIRST + COUNT);
}

/// Whether somebody listens on this port.
pub fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

type Order = (Command, Sender<std::io::Result<Child>>);

/// Starts a child from a thread that lives as long as the process. The kernel's parent-death signal is sent when the
/// *thread* ends that started the child, and each test has a thread of its own, while servers are shared by tests.
fn spawn_kept(command: Command) -> std::io::Result<Child> {
    static KEEPER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        thread::Builder::new()
            .name("servers".into())
            .spawn(move || {
                for (mut command, answer) in inbox {
                    drop(answer.send(command.spawn()));
                }
            })
            .unwrap();
        Mutex::new(orders)
    });
    let (answer, answered) = channel();
    keeper.lock().unwrap_or_else(PoisonError::into_inner).send((command, answer)).unwrap();
    answered.recv().unwrap()
}
