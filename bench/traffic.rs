//! A shop's traffic, the same for the same seed: 85 % clicks, 10 % purchases, 5 % carts left behind. A few customers come
//! far more often than most, each looks at products of their own liking, and some records are a little late.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::chance::{Chance, mixed};

/// How much traffic.
#[derive(Debug, Clone)]
pub(crate) struct Size {
    pub(crate) events: u64,
    /// Customers there are; most of them occur.
    pub(crate) customers: u64,
    /// Days that the traffic is spread over.
    pub(crate) days: u32,
    pub(crate) seed: u64,
}

/// A record is at most this late, milliseconds: less than the default `grace`.
const LATENESS_MS: u64 = 900;
/// Products that one customer looks at.
const LIKED: u64 = 150;

const CATEGORIES: [&str; 16] = [
    "running", "shoes", "jackets", "trousers", "shirts", "bags", "watches", "phones", "audio", "books", "games",
    "kitchen", "garden", "beauty", "toys", "food",
];
const PAGES: [&str; 6] = ["product", "product", "product", "category", "home", "cart"];
const DEVICES: [&str; 5] = ["mobile", "mobile", "mobile", "desktop", "tablet"];
const CHANNELS: [&str; 4] = ["web", "web", "app", "store"];
const SOURCES: [&str; 5] = ["newsletter", "search", "social", "partner", "display"];
const MEDIUMS: [&str; 3] = ["email", "cpc", "banner"];
const COUNTRIES: [&str; 6] = ["DE", "FR", "IT", "ES", "NL", "PL"];
const CITIES: [&str; 6] = ["Berlin", "Paris", "Rome", "Madrid", "Utrecht", "Gdansk"];
const LANGUAGES: [&str; 6] = ["de", "fr", "it", "es", "nl", "pl"];
const SEARCHES: [&str; 4] = ["red shoes", "waterproof jacket", "gift", "headphones"];

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Click,
    Purchase,
    CartAbandonment,
}

/// An event before it is bytes. Everything else about it follows from `number` and the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    /// Milliseconds since the epoch.
    pub(crate) occurred_at: i64,
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    pub(crate) customer: u64,
    pub(crate) cart: u64,
}

/// A line of an order or a cart.
pub(crate) struct Item {
    pub(crate) product: u64,
    pub(crate) quantity: u64,
    /// Hundredths.
    pub(crate) price: u64,
}

pub(crate) fn customer_id(customer: u64) -> String {
    format!("customer-{customer:08}")
}

pub(crate) fn category(product: u64) -> &'static str {
    CATEGORIES[usize::try_from(mixed(product) % CATEGORIES.len() as u64).unwrap_or_default()]
}

pub(crate) fn brand(product: u64) -> u64 {
    mixed(product ^ 0xb1a2) % 60
}

/// Where somebody is, from who they are.
pub(crate) fn place(customer: u64) -> (&'static str, &'static str, &'static str) {
    let index = usize::try_from(mixed(customer ^ 0x91ac) % COUNTRIES.len() as u64).unwrap_or_default();
    (COUNTRIES[index], CITIES[index], LANGUAGES[index])
}

/// The choices of one click.
pub(crate) struct Click {
    pub(crate) page: &'static str,
    pub(crate) product: Option<u64>,
    pub(crate) search: Option<&'static str>,
    pub(crate) session: u64,
    pub(crate) device: &'static str,
    pub(crate) channel: &'static str,
    pub(crate) referrer: Option<&'static str>,
    pub(crate) campaign: Option<(&'static str, &'static str, u64)>,
}

pub(crate) fn click(event: &Event, chance: &mut Chance) -> Click {
    Click {
        page: chance.one_of(&PAGES),
        product: chance.percent(80).then(|| liked(event.customer, chance)),
        search: chance.percent(10).then(|| chance.one_of(&SEARCHES)),
        session: mixed(event.customer ^ u64::try_from(event.occurred_at / 1_800_000).unwrap_or_default()),
        device: if chance.percent(70) { usual_device(event.customer) } else { chance.one_of(&DEVICES) },
        channel: chance.one_of(&CHANNELS),
        referrer: chance.percent(25).then_some("https://www.example.com/search"),
        campaign: chance.percent(20).then(|| (chance.one_of(&SOURCES), chance.one_of(&MEDIUMS), chance.below(500))),
    }
}

pub(crate) fn items(event: &Event, chance: &mut Chance) -> Vec<Item> {
    (0..=chance.below(3))
        .map(|_| Item {
            product: liked(event.customer, chance),
            quantity: 1 + chance.below(2),
            price: 500 + chance.below(12_000),
        })
        .collect()
}

fn liked(customer: u64, chance: &mut Chance) -> u64 {
    mixed(customer.wrapping_mul(LIKED) + chance.below(LIKED)) % 20_000
}

fn usual_device(customer: u64) -> &'static str {
    DEVICES[usize::try_from(mixed(customer ^ 0xde1c) % DEVICES.len() as u64).unwrap_or_default()]
}

/// The stream of events, in order of instants but for the late ones.
pub(crate) struct Traffic {
    size: Size,
    begin_ms: i64,
    chance: Chance,
    number: u64,
    /// Purchases that follow a cart left behind, which are part of the ten in a hundred.
    coming: BinaryHeap<Reverse<Event>>,
}

impl Traffic {
    /// Traffic whose last event is at `end_ms`.
    pub(crate) fn new(size: &Size, end_ms: i64) -> Self {
        let begin_ms = end_ms - i64::from(size.days) * 86_400_000;
        Self { size: size.clone(), begin_ms, chance: Chance::new(size.seed), number: 0, coming: BinaryHeap::new() }
    }

    /// What the fields of an event are drawn from.
    pub(crate) fn details(&self, event: &Event) -> Chance {
        Chance::new(mixed(event.number ^ self.size.seed.rotate_left(32)))
    }

    fn instant(&self, number: u64) -> i64 {
        let span = u128::from(self.size.days) * 86_400_000;
        let passed = span * u128::from(number + 1) / u128::from(self.size.events);
        self.begin_ms + i64::try_from(passed).unwrap_or_default()
    }

    fn draw(&mut self, now: i64) -> Event {
        // A third of the carts left behind are bought after all; those purchases come by themselves.
        let kind = match self.chance.below(10_000) {
            0..8_643 => Kind::Click,
            8_643..9_492 => Kind::Purchase,
            _ => Kind::CartAbandonment,
        };
        // Squared: a hundredth of the customers makes a tenth of the traffic.
        let fraction = self.chance.fraction();
        let skewed = fraction * fraction;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a fraction of the customers"
        )]
        let rank = (skewed * self.size.customers as f64) as u64;
        let late = if self.chance.percent(3) { self.chance.below(LATENESS_MS) } else { 0 };
        let occurred_at = now - i64::try_from(late).unwrap_or_default();
        Event { occurred_at, number: self.number, kind, customer: rank, cart: self.number }
    }
}

impl Iterator for Traffic {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.number >= self.size.events {
            return None;
        }
        let now = self.instant(self.number);
        let is_due = self.coming.peek().is_some_and(|Reverse(event)| event.occurred_at <= now);
        let event = match if is_due { self.coming.pop() } else { None } {
            Some(Reverse(event)) => Event { occurred_at: now, number: self.number, ..event },
            None => self.draw(now),
        };
        if event.kind == Kind::CartAbandonment && self.chance.percent(33) {
            let after = 600_000 + i64::try_from(self.chance.below(3_000_000)).unwrap_or_default();
            self.coming.push(Reverse(Event { occurred_at: now + after, kind: Kind::Purchase, ..event }));
        }
        self.number += 1;
        Some(event)
    }
}
