//! A window that holds more instants than are kept apart: nothing leaves early, and nothing stays longer than the width of a
//! bucket (`segments.md` section 4). The naive evaluator keeps every event, so this is held against bounds instead of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::tz::TimeZone;
use segue::definition::load_texts;
use segue::engine::effects::Change;
use segue::engine::record::Origin;
use segue::testing::{Options, Replay};
use segue::wire::schema::SchemaSet;

use crate::random::Random;

const START: i64 = 1_767_225_600_000;
/// What the window's count and sum are compared with.
const STEPS: [i64; 12] = [1, 2, 3, 10, 50, 100, 127, 128, 129, 200, 400, 1_000];

/// An event: when it happened, when the engine had it, and how much it counts in a sum.
struct Event {
    at: i64,
    known_at: i64,
    total: i64,
}

struct History {
    /// The longest of the windows.
    window_ms: i64,
    /// What it is divided by for the others, which look at the same state.
    parts: Vec<i64>,
    events: Vec<Event>,
}

impl History {
    /// Bursts and silences, some events late, some at the same instant.
    fn of(random: &mut Random) -> Self {
        let window_ms = *random.pick(&[60_000, 3_600_000, 86_400_000, 30 * 86_400_000]);
        let (mut now, mut events) = (START, Vec::new());
        for _ in 0..random.between(200, 1_500) {
            let pace = *random.pick(&[0, 1, window_ms / 1_000, window_ms / 300, window_ms / 20]);
            let at = if random.percent(10) && !events.is_empty() {
                now - upto(random, (window_ms / 2).min(80_000_000))
            } else {
                now += upto(random, pace);
                now
            };
            events.push(Event { at, known_at: now, total: 1 + upto(random, 2) });
        }
        let parts = if random.percent(40) { vec![1] } else { vec![1, 3, 12, 60] };
        Self { window_ms, parts, events }
    }

    /// The sum over what a window of that length holds at an instant.
    fn sum(&self, length_ms: i64, now: i64, of: impl Fn(&Event) -> i64) -> i64 {
        let inside = |event: &&Event| event.known_at <= now && now < event.at + length_ms;
        self.events.iter().filter(inside).map(of).sum()
    }

    /// No bucket of a window is wider: so wide, they are few enough whatever the window holds. Nothing is merged that never
    /// holds more instants than are kept apart.
    fn width_max(&self, window_ms: i64) -> i64 {
        let instants: BTreeSet<i64> = self.events.iter().map(|event| event.at).collect();
        let is_exact = instants.iter().all(|at| instants.range(at + 1 - window_ms..=*at).count() <= 128);
        if is_exact {
            return 0;
        }
        i64::try_from((window_ms / 62).unsigned_abs().next_power_of_two()).expect("as prepared")
    }

    fn changes(&self) -> Vec<Change> {
        let mut set = "segments:\n".to_owned();
        for part in &self.parts {
            let window_s = self.window_ms / 1_000 / part;
            for step in STEPS {
                writeln!(set, "  - {{name: count_{part}_{step}, when: count(purchase over {window_s}s) >= {step}}}")
                    .expect("as prepared");
                writeln!(set, "  - {{name: sum_{part}_{step}, when: sum(purchase.total over {window_s}s) >= {step}}}")
                    .expect("as prepared");
            }
        }
        let end = self.events.last().expect("as prepared").known_at + 3 * self.window_ms;
        let fields = |Event { at, total, .. }: &Event| (*at, format!(r#""type":"purchase","total":{total}"#));
        changes_of(set, self.events.iter().map(fields), end)
    }

    /// Whether the step was reached at an instant, as the changes tell.
    fn is_in(changes: &[Change], segment: &str, now: i64) -> bool {
        let last = changes.iter().rfind(|change| &*change.segment == segment && change.at <= now);
        last.is_some_and(|change| change.entered)
    }

    /// Looks at every change, just before it, and at some instants between.
    fn check(&self, random: &mut Random, seed: u64) {
        let changes = self.changes();
        let end = self.events.last().expect("as prepared").known_at + 2 * self.window_ms;
        let flips = changes.iter().flat_map(|change| [change.at - 1, change.at]);
        let probes: Vec<i64> = flips.chain((0..50).map(|_| START + upto(random, end - START))).collect();
        for (part, (name, of)) in self.parts.iter().flat_map(|part| OF.map(|of| (part, of))) {
            let window_ms = self.window_ms / 1_000 / part * 1_000;
            let width_max = self.width_max(window_ms);
            for now in probes.iter().copied() {
                let least = self.sum(window_ms, now, of);
                let most = self.sum(window_ms + width_max, now, of);
                for step in STEPS {
                    let is_in = Self::is_in(&changes, &format!("{name}_{part}_{step}"), now);
                    let said = format!("seed {seed}: {name} >= {step} at {now} of a window of {window_ms} ms");
                    assert!(is_in || least < step, "{said}: something left early, there are {least}");
                    assert!(!is_in || most >= step, "{said}: something stayed too long, there are at most {most}");
                }
            }
        }
    }
}

/// How much an event is of what is compared.
type Of = fn(&Event) -> i64;
const OF: [(&str, Of); 2] = [("count", |_| 1), ("sum", |event| event.total)];

/// What happens to a customer with these events, until the end.
fn changes_of(set: String, events: impl Iterator<Item = (i64, String)>, end: i64) -> Vec<Change> {
    let schemas = SchemaSet::shipped().expect("as prepared");
    let catalog = load_texts(&[("set.yaml".to_owned(), set)], schemas.schemas(), TimeZone::UTC);
    let catalog = Arc::new(catalog.expect("as prepared").catalog);
    let mut replay = Replay::new(catalog, &schemas, Options::default());
    for (number, (at, fields)) in events.enumerate() {
        let line = format!(r#"{{{fields},"event_id":"e{number}","customer_id":"c","occurred_at":{at}}}"#);
        replay.offer_json(line.as_bytes(), &Origin::default()).expect("as prepared");
    }
    replay.advance_past(end).expect("as prepared");
    replay.take_changes()
}

fn upto(random: &mut Random, most: i64) -> i64 {
    i64::try_from(random.below(usize::try_from(most).expect("as prepared") + 1)).expect("as prepared")
}

/// `SEGUE_BUCKETS_CASES` is how many histories are tried.
#[test]
fn nothing_leaves_early_and_nothing_stays_longer_than_a_bucket_is_wide() {
    for seed in 0..crate::setting("SEGUE_BUCKETS_CASES", 20) {
        let mut random = Random::new(seed);
        History::of(&mut random).check(&mut random, seed);
    }
}

#[test]
fn the_most_frequent_of_very_many_values_is_found() {
    let set = r#"segments: [{name: robot, when: 'top(click.page over 30d) = "again"'}]"#.to_owned();
    let page = |number: i64| if number % 50 == 0 { "again".to_owned() } else { format!("page-{number}") };
    let event = |number: i64| (START + number * 60_000, format!(r#""type":"click","page":"{}""#, page(number)));
    let last = START + 15_000 * 60_000;
    let changes = changes_of(set, (0..15_000).map(event), last + 31 * 86_400_000);
    let said: Vec<_> = changes.iter().skip_while(|change| change.at < START + 51 * 60_000).map(|c| c.entered).collect();
    assert_eq!(said, [false], "it stays the most frequent until it leaves: {changes:?}");
}
