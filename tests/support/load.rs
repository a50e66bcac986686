//! What the tests of crashes and outages send, and what they ask of it.

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::json;

use super::{Broker, Event, Site};

/// Segments that depend on order, on the past, on pairs across topics and on time alone.
pub const DEFINITIONS: &str = r"
segments:
  - {name: regular, when: count(click) >= 5}
  - {name: browsing, when: count(click over 10m) >= 4}
  - {name: converted, when: did(click then purchase within 10m over 1h)}
  - name: warm
    when: did(purchase over 2m)
    until: count(click over 3m) >= 2
";

/// A day.
pub const DAY_MS: i64 = 86_400_000;

/// Now, milliseconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "the engine under test goes by the wall clock")]
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// One event each 500 ms from `start` on, of some customers.
pub fn traffic(start: i64, count: usize, first_id: usize) -> Vec<Event> {
    let event = |id: usize| {
        let at = start + 500 * i64::try_from(id - first_id).unwrap();
        let customer = format!("customer-{}", (id * 7919) % 97);
        let purchase = json!({"type": "purchase", "event_id": format!("e{id}"), "customer_id": customer, "occurred_at": at,
                              "order_id": "o", "total": 5, "currency": "EUR", "items": []});
        let click = json!({"type": "click", "event_id": format!("e{id}"), "customer_id": customer, "occurred_at": at});
        if id.is_multiple_of(7) { purchase } else { click }
    };
    (first_id..first_id + count).map(event).collect()
}

/// A pause whose length differs from round to round.
pub fn pause(round: u64) -> Duration {
    Duration::from_millis(900 + (round * 617) % 1_400)
}

/// What was sent to each site of `ran_once`.
pub fn traffic_of_ran_once() -> Vec<Event> {
    static BEGAN: OnceLock<i64> = OnceLock::new();
    traffic(*BEGAN.get_or_init(now_ms) - DAY_MS / 2, 600, 1)
}

/// A site where something was committed, stopped.
pub fn ran_once() -> Site {
    let site = Site::new(Broker::shared(), 1, DEFINITIONS);
    let events = traffic_of_ran_once();
    site.produce(&events);
    let mut engine = site.start();
    site.wait_for(&mut engine, &site.expected(&events, now_ms()));
    Site::stop(engine);
    site
}
