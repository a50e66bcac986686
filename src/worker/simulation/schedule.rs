//! Who goes on: of all threads of a run exactly one does, until it waits or steps aside, and chance decides who is next.
//!
//! The threads are real, so that the worker's code runs as it is, with its loops and calls that wait; but they hand over to
//! each other, so that nothing depends on the machine. Time stands still while somebody can go on, and jumps to the next
//! instant that somebody waits for when nobody can.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use super::random::Random;
use crate::kafka::pause;
use crate::worker::{clock, failpoint};

/// When a run begins, milliseconds since the epoch.
pub(super) const START_MS: i64 = 1_767_225_600_000;

/// A process, from its start to its end.
pub(super) type Process = usize;
/// A thread.
pub(super) type Task = usize;

thread_local! {
    static CURRENT: RefCell<Option<(Arc<Schedule>, Task)>> = const { RefCell::new(None) };
}

/// The threads of one run.
pub(super) struct Schedule {
    now: AtomicI64,
    state: Mutex<State>,
    /// What happens at a step of the worker that has a name.
    at_step: OnceLock<Box<dyn Fn(&'static str) + Send + Sync>>,
}

struct State {
    random: Random,
    tasks: Vec<Entry>,
    running: Task,
    frozen_until: BTreeMap<Process, i64>,
    /// How far the wall clock of a process is ahead of time, milliseconds.
    ahead_ms: BTreeMap<Process, i64>,
    trace: Vec<String>,
    panics: Vec<String>,
}

struct Entry {
    name: String,
    process: Option<Process>,
    wake_at: i64,
    has_ended: bool,
    is_killed: bool,
    thread: Option<Thread>,
    handle: Option<JoinHandle<()>>,
}

/// What unwinds a thread whose process was killed.
struct Killed;

impl Schedule {
    /// A schedule whose first thread is the one that calls this.
    pub(super) fn begin(seed: u64) -> Arc<Self> {
        let first = Entry::new("run", None, Some(std::thread::current()));
        let state = State {
            random: Random::new(seed),
            tasks: vec![first],
            running: 0,
            frozen_until: BTreeMap::new(),
            ahead_ms: BTreeMap::new(),
            trace: Vec::new(),
            panics: Vec::new(),
        };
        let schedule =
            Arc::new(Self { now: AtomicI64::new(START_MS), state: Mutex::new(state), at_step: OnceLock::new() });
        schedule.take_part(0);
        schedule
    }

    /// Makes this thread one of the run.
    fn take_part(self: &Arc<Self>, task: Task) {
        CURRENT.set(Some((self.clone(), task)));
        clock::SIMULATED.set(Some(readings));
        pause::SIMULATED.set(Some(sleep));
        failpoint::SIMULATED.set(Some(step));
    }

    /// Says what happens at a step of the worker that has a name.
    pub(super) fn at_step(&self, act: impl Fn(&'static str) + Send + Sync + 'static) {
        let _ = self.at_step.set(Box::new(act));
    }

    /// Milliseconds since the epoch.
    pub(super) fn now(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws from what the seed leads to.
    pub(super) fn draw<T>(&self, from: impl FnOnce(&mut Random) -> T) -> T {
        from(&mut self.lock().random)
    }

    /// Notes what happened.
    pub(super) fn note(&self, what: &str) {
        let at = self.now() - START_MS;
        let mut state = self.lock();
        let line = format!("{at:>6} {} {what}", state.tasks[state.running].name);
        state.trace.push(line);
    }

    /// Starts a thread, of a process or of the world.
    pub(super) fn spawn(
        self: &Arc<Self>,
        name: &str,
        process: Option<Process>,
        work: impl FnOnce() + Send + 'static,
    ) -> Task {
        let task = {
            let mut state = self.lock();
            state.tasks.push(Entry::new(name, process, None));
            state.tasks.len() - 1
        };
        let schedule = self.clone();
        let handle = std::thread::spawn(move || {
            schedule.take_part(task);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                schedule.await_turn(task);
                work();
            }));
            schedule.end(task, outcome.err());
        });
        let mut state = self.lock();
        state.tasks[task].wake_at = self.now();
        state.tasks[task].thread = Some(handle.thread().clone());
        state.tasks[task].handle = Some(handle);
        task
    }

    /// Lets others go on until an instant, milliseconds since the epoch, or just once if that is now.
    pub(super) fn pass_until(&self, instant: i64) {
        let task = current_task();
        {
            let mut state = self.lock();
            state.tasks[task].wake_at = instant;
            if self.hand_over(&mut state) == task && !state.tasks[task].is_killed {
                return;
            }
        }
        self.await_turn(task);
    }

    /// The same for so many milliseconds.
    pub(super) fn pass(&self, duration_ms: i64) {
        self.pass_until(self.now() + duration_ms);
    }

    /// Chooses who goes on.
    fn hand_over(&self, state: &mut State) -> Task {
        let State { tasks, frozen_until, .. } = state;
        let wake_at = |entry: &Entry| {
            let thawed_at = entry.process.and_then(|process| frozen_until.get(&process)).copied();
            if entry.is_killed { i64::MIN } else { thawed_at.unwrap_or(i64::MIN).max(entry.wake_at) }
        };
        let alive = || tasks.iter().enumerate().filter(|(_, entry)| !entry.has_ended);
        let earliest = alive().map(|(_, entry)| wake_at(entry)).min().unwrap_or_default();
        let now = self.now().max(earliest);
        self.now.store(now, Ordering::Relaxed);
        let ready: Vec<Task> = alive().filter(|(_, entry)| wake_at(entry) <= now).map(|(task, _)| task).collect();
        let next = *state.random.pick(&ready);
        state.running = next;
        if let Some(thread) = &state.tasks[next].thread {
            thread.unpark();
        }
        next
    }

    fn await_turn(&self, task: Task) {
        loop {
            let state = self.lock();
            if state.running == task {
                if state.tasks[task].is_killed {
                    drop(state);
                    resume_unwind(Box::new(Killed));
                }
                return;
            }
            drop(state);
            std::thread::park();
        }
    }

    fn end(&self, task: Task, panic: Option<Box<dyn std::any::Any + Send>>) {
        let mut state = self.lock();
        if let Some(panic) = panic.filter(|panic| !panic.is::<Killed>()) {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            state.panics.push(text.unwrap_or_default());
        }
        state.tasks[task].has_ended = true;
        self.hand_over(&mut state);
    }

    /// Ends a process as `kill -9` does: none of its threads does anything any more. Whoever calls this from one of them
    /// has to [step aside](Self::pass) to meet its end.
    pub(super) fn kill(&self, process: Process) {
        for entry in self.lock().tasks.iter_mut().filter(|entry| entry.process == Some(process)) {
            entry.is_killed = true;
        }
    }

    /// Halts a process until an instant, as `kill -STOP` does.
    pub(super) fn freeze(&self, process: Process, until: i64) {
        self.lock().frozen_until.insert(process, until);
    }

    /// Sets the wall clock of a process so far ahead of time, or behind it.
    pub(super) fn set_clock(&self, process: Process, ahead_ms: i64) {
        self.lock().ahead_ms.insert(process, ahead_ms);
    }

    /// How far the wall clock that a thread sees is ahead of time, milliseconds.
    fn ahead_ms(&self, task: Task) -> i64 {
        let state = self.lock();
        state.tasks[task].process.and_then(|process| state.ahead_ms.get(&process)).copied().unwrap_or(0)
    }

    /// Whether a process is halted.
    pub(super) fn is_frozen(&self, process: Process) -> bool {
        self.lock().frozen_until.get(&process).is_some_and(|until| *until > self.now())
    }

    /// Whether a thread has ended.
    pub(super) fn has_ended(&self, task: Task) -> bool {
        self.lock().tasks[task].has_ended
    }

    /// Ends all threads but this one; gives the trace and what panicked.
    pub(super) fn finish(&self) -> (Vec<String>, Vec<String>) {
        for entry in self.lock().tasks.iter_mut().skip(1) {
            entry.is_killed = true;
        }
        while self.lock().tasks.iter().skip(1).any(|entry| !entry.has_ended) {
            self.pass(0);
        }
        let mut state = self.lock();
        let handles: Vec<_> = state.tasks.iter_mut().filter_map(|entry| entry.handle.take()).collect();
        let found = (std::mem::take(&mut state.trace), std::mem::take(&mut state.panics));
        drop(state);
        for handle in handles {
            let _ = handle.join();
        }
        CURRENT.set(None);
        clock::SIMULATED.set(None);
        pause::SIMULATED.set(None);
        failpoint::SIMULATED.set(None);
        found
    }
}

impl Entry {
    fn new(name: &str, process: Option<Process>, thread: Option<Thread>) -> Self {
        let name = name.to_owned();
        Self { name, process, wake_at: 0, has_ended: false, is_killed: false, thread, handle: None }
    }
}

/// The schedule of which this thread is part.
pub(super) fn current() -> Arc<Schedule> {
    CURRENT.with_borrow(|current| current.as_ref().map(|(schedule, _)| schedule.clone())).expect("part of a run")
}

fn current_task() -> Task {
    CURRENT.with_borrow(|current| current.as_ref().map(|(_, task)| *task)).expect("part of a run")
}

/// The process that this thread is of, and its name.
pub(super) fn current_process() -> (Option<Process>, String) {
    let task = current_task();
    let schedule = current();
    let state = schedule.lock();
    (state.tasks[task].process, state.tasks[task].name.clone())
}

fn readings() -> (i64, Instant) {
    static BASE: OnceLock<Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "an instant can only be made from another")]
    let base = *BASE.get_or_init(Instant::now);
    let (now, ahead_ms) = CURRENT.with_borrow(|current| {
        let of = |(schedule, task): &(Arc<Schedule>, Task)| (schedule.now(), schedule.ahead_ms(*task));
        current.as_ref().map_or((START_MS, 0), of)
    });
    // The clock that measures knows nothing of what is done to the one on the wall.
    (now + ahead_ms, base + Duration::from_millis((now - START_MS).unsigned_abs()))
}

fn sleep(duration: Duration) {
    current().pass(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX));
}

fn step(name: &'static str) {
    let schedule = current();
    if let Some(act) = schedule.at_step.get() {
        act(name);
    }
}
