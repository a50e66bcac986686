//! What grows with what: the work on a set of definitions with its size, and what is kept of one customer and done for one
//! event with how much has happened. Counted in bytes and allocations, never in time.
//!
//! One test in a file of its own: the counting allocator counts for the whole process.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot prepare what it measures has failed")]
#![allow(clippy::print_stdout, reason = "what was measured, for who asks with `--nocapture`")]

use std::alloc::System;
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::tz::TimeZone;
use segue::definition::{format, load_texts};
use segue::engine::record::Origin;
use segue::testing::{Options, Replay};
use segue::wire::customer::encode;
use segue::wire::schema::SchemaSet;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes and allocations that an action takes.
fn work_of(action: impl FnOnce()) -> (usize, usize) {
    let region = Region::new(ALLOCATOR);
    action();
    let change = region.change();
    (change.bytes_allocated, change.allocations)
}

#[test]
fn work_and_state_are_bounded() {
    definitions_cost_what_they_are_long();
    state_is_bounded();
}

/// A set by its number of parts.
type Set = fn(usize) -> String;

fn segments(n: usize, expression: impl Fn(usize) -> String) -> String {
    (0..n).fold("segments:\n".to_owned(), |mut text, i| {
        writeln!(text, "  - {{name: s{i}, when: '{}'}}", expression(i)).unwrap();
        text
    })
}

fn definitions_cost_what_they_are_long() {
    let sets: [(&str, Set); 11] = [
        ("segments", |n| segments(n, |i| format!("count(click where page = \"p{i}\" over {}h) >= 2", i + 1))),
        ("unknown names", |n| segments(n, |i| format!("segment(\"nothing_like_it_{i}\") and trait.none{i} = 1"))),
        ("unknown events", |n| segments(n, |i| format!("did(clik{i})"))),
        ("unknown fields in one", |n| {
            segments(1, |_| (0..n).map(|i| format!("did(click where pag{i} = \"p\")")).collect::<Vec<_>>().join(" or "))
        }),
        ("conditions in one", |n| {
            segments(1, |_| (0..n).map(|i| format!("did(click where page = \"{i}\")")).collect::<Vec<_>>().join(" or "))
        }),
        ("values in one", |n| {
            let values: Vec<_> = (0..n).map(|i| format!("\"p{i}\"")).collect();
            segments(1, |_| format!("did(click where page in ({}))", values.join(", ")))
        }),
        ("a chain of segments", |n| {
            segments(n, |i| if i == 0 { "did(click)".to_owned() } else { format!("segment(\"s{}\")", i - 1) })
        }),
        ("a circle of segments", |n| segments(n, |i| format!("segment(\"s{}\")", (i + 1) % n))),
        ("duplicates", |n| segments(n, |_| "did(click)".to_owned()).replace(char::is_numeric, "")),
        ("unknown keys", |n| {
            (0..n).fold(segments(1, |_| "did(click)".to_owned()), |text, i| text + &format!("k{i}: 1\n"))
        }),
        ("tests", |n| {
            let test = "    events: [{at: 1, type: click}]\n    expect: [{at: 2, in: [s0]}]\n";
            let tests: Vec<_> = (0..n).map(|i| format!("  - name: t{i}\n{test}")).collect();
            segments(1, |_| "did(click)".to_owned()) + "tests:\n" + &tests.concat()
        }),
    ];
    let schemas = SchemaSet::shipped().unwrap();
    for (name, set) in sets {
        let work = |n: usize| {
            let files = [("a.yaml".to_owned(), set(n))];
            work_of(|| {
                // Wrong ones are shown, too, as a person would have them shown.
                if let Err(problems) = load_texts(&files, schemas.schemas(), TimeZone::UTC) {
                    assert!(problems.iter().all(|problem| !problem.to_string().is_empty()));
                }
                let _ = format("a.yaml", &files[0].1);
            })
        };
        let ((bytes, allocations), (more_bytes, more_allocations)) = (work(400), work(800));
        assert!(more_bytes < bytes * 5 / 2, "{name}: {bytes} bytes, then {more_bytes} for twice as much");
        assert!(more_allocations < allocations * 5 / 2, "{name}: {allocations}, then {more_allocations} allocations");
    }
}

/// Every aggregate over every kind of window, every pattern, and all that is remembered besides.
const GREEDY: &str = r#"
traits:
  - {name: t0, value: top(click.page)}
  - {name: t1, value: list(click.page)}
  - {name: t2, value: distinct(click.page)}
  - {name: t3, value: top(click.page over 30d)}
  - {name: t4, value: list(click.page over 30d)}
  - {name: t5, value: distinct(click.page over 30d)}
  - {name: t6, value: top(click.page this month)}
  - {name: t7, value: first(click.page over 30d)}
  - {name: t8, value: last(click.page over 30d)}
  - {name: t9, value: min(click.occurred_at over 30d)}
  - {name: t10, value: max(click.occurred_at over 30d)}
  - {name: t11, value: top(click.page since last(purchase))}
segments:
  - {name: a, when: count(click over 30d) > 1000000000}
  - {name: b, when: did(click then click on page within 30d)}
  - {name: c, when: did(click without purchase on page = order_id within 30d)}
  - {name: d, when: did(click after 30d without click on page)}
  - {name: e, when: count(click since last(purchase)) > 1000000000}
  - {name: f, when: 'did(click where page = "x" over 30d) for 7d'}
  - {name: g, when: 'did((click then click on session_id within 1h) without purchase within 30d)'}
  - {name: h, when: 'trait.t0 = "x" or trait.t1 contains "x" or trait.t2 > 1000000000 or trait.t3 = "x"'}
  - {name: i, when: 'trait.t4 contains "x" or trait.t5 > 1000000000 or trait.t6 = "x" or trait.t7 = "x"'}
  - {name: j, when: 'trait.t8 = "x" or trait.t9 > now or trait.t10 > now or trait.t11 = "x"'}
"#;

/// What one customer may take at most under the definitions above, whatever they do with values of so many bytes.
const STATE_MAX_BYTES: usize = 1_500_000;
/// What one of their events may allocate at most.
const EVENT_MAX_BYTES: usize = 10_000_000;

fn state_is_bounded() {
    let schemas = SchemaSet::shipped().unwrap();
    let files = [("greedy.yaml".to_owned(), GREEDY.to_owned())];
    let catalog = load_texts(&files, schemas.schemas(), TimeZone::UTC).unwrap().catalog;
    let mut replay = Replay::new(Arc::new(catalog), &schemas, Options::default());
    let n_events: usize = std::env::var("SEGUE_GROWTH_EVENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000);
    let mut largest = (0, 0);
    for number in 0..n_events {
        // Every one at another instant, with another value.
        let line = format!(
            r#"{{"type":"click","event_id":"e{number}","customer_id":"c","occurred_at":{},"page":"page-{number}","session_id":"{number}"}}"#,
            number * 60_000
        );
        let (bytes, _) = work_of(|| assert!(replay.offer_json(line.as_bytes(), &Origin::default()).is_ok()));
        drop(replay.take_changes());
        largest = largest.max((bytes, number));
        if number.is_power_of_two() || number + 1 == n_events {
            let state = encode(&replay.customer("c").unwrap().unwrap()).len();
            println!("{:>9} events: {state:>9} bytes of state, {bytes:>9} bytes for the last event", number + 1);
            assert!(state <= STATE_MAX_BYTES, "{state} bytes after {number} events");
        }
    }
    assert!(largest.0 <= EVENT_MAX_BYTES, "{} bytes for event {}", largest.0, largest.1);
}
