//! What customers do in a run.
//!
//! Which changes there are depends on timing in two ways, and neither is a matter of faults, so the traffic avoids both.
//! Across topics, order is by arrival where two records of a customer are less than a second old: here a customer who turns
//! to another topic is silent for longer than that, and than any record is late. And a record that comes after the partition
//! clock has passed it meets flips that have happened: here grace is longer than anything comes late. Within a topic there is
//! disorder, there are ties, duplicates, and records that are refused.

use super::broker::Upstream;
use super::random::Random;
use super::registry::{CLICKS, USELESS, click};
use super::schedule::START_MS;

/// Event types or kinds of record, and their topics, by lane.
pub(super) const INPUTS: [(&str, &str); 5] = [
    ("click", "clicks"),
    ("purchase", "purchases"),
    ("cart_abandonment", "carts"),
    ("consent", "consents"),
    ("erasure", "erasures"),
];

/// How late a record is at most.
const LATE_MS: i64 = 1_500;
/// How long a customer is silent before turning to another topic.
const SILENT_MS: i64 = 3_200;

/// A record on its way.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) at: i64,
    pub(super) lane: usize,
    pub(super) customer: String,
    pub(super) value: Vec<u8>,
    /// What the value says, as JSON.
    pub(super) meaning: String,
    pub(super) how: Upstream,
    pub(super) is_refused: bool,
}

impl Arrival {
    /// Whether readers of committed records see it.
    pub(super) fn is_seen(&self) -> bool {
        self.how != Upstream::Transaction { commit: false }
    }
}

/// What arrives in a run, in order.
pub(super) fn arrivals(random: &mut Random, n_customers: usize, duration_ms: i64) -> Vec<Arrival> {
    let mut arrivals = Vec::new();
    for number in 0..n_customers {
        let customer = format!("customer-{number}");
        let (mut at, mut lane) = (START_MS + random.between(0, 3_000), 0);
        let mut events: Vec<Arrival> = Vec::new();
        while at < START_MS + duration_ms {
            let lanes = [0, 0, 0, 1, 1, 2, 3, 4];
            let next = if random.chance(450) { *random.pick(&lanes) } else { lane };
            // Erasures are rare.
            let next = if next == 4 && random.chance(600) { lane } else { next };
            at += if next == lane { random.between(0, 1_500) } else { SILENT_MS + random.between(0, 1_500) };
            lane = next;
            let former = events.last().filter(|former| former.lane == lane && !former.is_refused).cloned();
            let arrival = match former {
                Some(former) if random.chance(80) => Arrival { at, how: Upstream::Plain, ..former },
                _ => arrival(random, &customer, lane, at, events.len()),
            };
            events.push(arrival);
        }
        arrivals.extend(events);
    }
    arrivals.sort_by_key(|arrival| arrival.at);
    arrivals
}

fn arrival(random: &mut Random, customer: &str, lane: usize, at: i64, number: usize) -> Arrival {
    // Some come in order, some late, some at one instant.
    let occurred_at = match random.below(3) {
        0 => at,
        1 => at - random.between(0, LATE_MS),
        _ => (at - LATE_MS / 2) / 500 * 500,
    };
    let is_ahead = random.chance(20);
    let occurred_at = if is_ahead { at + 86_400_000 } else { occurred_at };
    let kind = INPUTS[lane].0;
    let more = match kind {
        "purchase" => r#","order_id":"o","total":12.5,"currency":"EUR","items":[]"#.to_owned(),
        "cart_abandonment" => r#","cart_id":"c","cart_value":3,"currency":"EUR","items":[]"#.to_owned(),
        "consent" => format!(r#","purpose":"marketing","granted":{}"#, random.chance(700)),
        _ => String::new(),
    };
    let meaning = format!(
        r#"{{"type":"{kind}","event_id":"{number}","customer_id":"{customer}","occurred_at":{occurred_at}{more}}}"#
    );
    let registered = |id| click(id, &number.to_string(), customer, occurred_at);
    let is_garbage = random.chance(20);
    let value = match random.below(4) {
        0 if is_garbage => registered(*random.pick(&USELESS)),
        _ if is_garbage => format!("{{no record {number}").into_bytes(),
        0 if kind == "click" => registered(*random.pick(&CLICKS)),
        _ => meaning.clone().into_bytes(),
    };
    let how = match random.below(10) {
        0 => Upstream::Transaction { commit: true },
        1 => Upstream::Transaction { commit: false },
        _ => Upstream::Plain,
    };
    Arrival { at, lane, customer: customer.to_owned(), value, meaning, how, is_refused: is_ahead || is_garbage }
}
