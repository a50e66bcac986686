//! A window that holds more instants than are kept apart: nothing leaves early, and nothing stays longer than the width of a
//! bucket (`segments.md` section 4). The naive evaluator keeps every event, so this is held against bounds instead of it.

use std::collections::{BTreeMap, BTreeSet};
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
/// As much as an event may count in a sum.
const TOTAL_MAX: usize = 3;

/// An event: when it happened, when the engine had it, and how much it counts in a sum.
struct Event {
    at: i64,
    known_at: i64,
    total: usize,
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
            events.push(Event { at, known_at: now, total: random.between(1, TOTAL_MAX) });
        }
        let parts = if random.percent(40) { vec![1] } else { vec![1, 3, 12, 60] };
        Self { window_ms, parts, events }
    }

    /// How many events of each total a window of that length holds at an instant.
    fn totals(&self, length_ms: i64, now: i64) -> Totals {
        let mut totals = [0; TOTAL_MAX];
        for Event { total, .. } in self.events.iter().filter(|e| e.known_at <= now && now < e.at + length_ms) {
            totals[total - 1] += 1;
        }
        totals
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
                writeln!(set, "  - {{name: count_{step}_{part}, when: count(purchase over {window_s}s) >= {step}}}")
                    .expect("as prepared");
                writeln!(set, "  - {{name: sum_{step}_{part}, when: sum(purchase.total over {window_s}s) >= {step}}}")
                    .expect("as prepared");
            }
            for total in 1..=TOTAL_MAX {
                writeln!(set, "  - {{name: top_{total}_{part}, when: top(purchase.total over {window_s}s) = {total}}}")
                    .expect("as prepared");
            }
        }
        let end = self.events.last().expect("as prepared").known_at + 3 * self.window_ms;
        let fields = |Event { at, total, .. }: &Event| (*at, format!(r#""type":"purchase","total":{total}"#));
        changes_of(set, self.events.iter().map(fields), end)
    }

    /// Looks at every change, just before it, and at some instants between.
    fn check(&self, random: &mut Random, seed: u64) {
        let changes = self.changes();
        let mut by_segment: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
        for change in &changes {
            by_segment.entry(&change.segment).or_default().push(change);
        }
        let is_in = |segment: &str, now: i64| {
            let changes = by_segment.get(segment).map_or(&[][..], Vec::as_slice);
            let last = changes.partition_point(|change| change.at <= now).checked_sub(1);
            last.is_some_and(|last| changes[last].entered)
        };
        let end = self.events.last().expect("as prepared").known_at + 2 * self.window_ms;
        let flips = changes.iter().flat_map(|change| [change.at - 1, change.at]);
        let probes: Vec<i64> = flips.chain((0..50).map(|_| START + upto(random, end - START))).collect();
        for part in &self.parts {
            let window_ms = self.window_ms / 1_000 / part * 1_000;
            let longest_ms = window_ms + self.width_max(window_ms);
            for now in probes.iter().copied() {
                let is_in = |segment: String| is_in(&format!("{segment}_{part}"), now);
                let [least, most] = [window_ms, longest_ms].map(|length_ms| self.totals(length_ms, now));
                let said = format!("seed {seed}: at {now} of a window of {window_ms} ms");
                check_steps(is_in, &least, &most, &said);
                check_most_frequent(is_in, &least, &most, &said);
            }
        }
    }
}

/// How many events there are of each total, from 1.
type Totals = [i64; TOTAL_MAX];

/// What is compared.
type Of = fn(&Totals) -> i64;
const OF: [(&str, Of); 2] =
    [("count", |totals| totals.iter().sum()), ("sum", |totals| (1..).zip(totals).map(|(total, n)| total * n).sum())];

fn check_steps(is_in: impl Fn(String) -> bool, least: &Totals, most: &Totals, said: &str) {
    for (name, of) in OF {
        let (least, most) = (of(least), of(most));
        for step in STEPS {
            let is_in = is_in(format!("{name}_{step}"));
            assert!(is_in || least < step, "{said}: something left {name} {step} early, there are {least}");
            assert!(
                !is_in || most >= step,
                "{said}: something stayed too long in {name} {step}, there are at most {most}"
            );
        }
    }
}

fn check_most_frequent(is_in: impl Fn(String) -> bool, least: &Totals, most: &Totals, said: &str) {
    let winners: Vec<usize> = (0..TOTAL_MAX).filter(|place| is_in(format!("top_{}", place + 1))).collect();
    assert!(winners.len() <= 1, "{said}: {winners:?} are the most frequent");
    let (most, least) = (winners.first().map_or(0, |winner| most[*winner]), least.iter().max());
    assert!(
        Some(&most) >= least,
        "{said}: {winners:?} is the most frequent with at most {most}, another has {least:?}"
    );
}

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

#[test]
fn what_is_in_every_event_stays_the_most_frequent() {
    let set = r#"segments: [{name: s, when: 'top(purchase.items.product_id over 30d) = "again"'}]"#.to_owned();
    let items = |number: i64| {
        let others = (0..70).map(|place| format!(r#",{{"product_id":"p{}"}}"#, number * 70 + place));
        format!(r#""type":"purchase","items":[{{"product_id":"again"}}{}]"#, others.collect::<String>())
    };
    let changes =
        changes_of(set, (0..200).map(|number| (START + number * 60_000, items(number))), START + 200 * 60_000);
    // Of the first event all are equally frequent, and another comes last.
    let said: Vec<_> = changes.iter().map(|change| (change.at - START, change.entered)).collect();
    assert_eq!(said, [(60_000, true)]);
}

#[test]
fn what_lies_before_the_last_event_of_a_kind_is_not_in_a_bucket_with_what_follows() {
    let set = "segments: [{name: s, when: count(click since last(purchase)) >= 2}]".to_owned();
    let click = |number: i64| (START + number, r#""type":"click""#.to_owned());
    let purchase = (START + 129, r#""type":"purchase""#.to_owned());
    // The last two clicks are in one bucket of four milliseconds.
    let events = (1..=128).map(click).chain([purchase, click(130)]);
    let changes = changes_of(set, events, START + 1_000);
    assert!(changes.is_empty(), "there was one click since: {changes:?}");
}
