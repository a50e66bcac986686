//! Real purchases through a replay: what the engine says of the record shop's customers, against what a few lines that know
//! nothing of the engine compute from the same file.

#![expect(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

mod record_shop;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use record_shop::{DAY_MS, Purchase, UNTIL, definitions, purchases};
use segue::engine::effects::Change;
use segue::testing::{Options, replay};
use segue::wire::schema::SchemaSet;

const GOLD_CENTS: i64 = 50_000;

/// A customer and an instant.
type Moments = BTreeSet<(String, i64)>;

#[test]
fn every_purchase_counts() {
    assert_eq!(purchases().len(), 6919);
    assert_eq!(by_customer().len(), 2357);
}

#[test]
fn gold_customers_are_those_whose_spend_of_a_year_reached_500_dollars() {
    let mut expected = Moments::new();
    for (customer, purchases) in by_customer() {
        for purchase in &purchases {
            // Spend only grows at a purchase; gold starts at the first that brings it there.
            if spend_of_a_year(&purchases, purchase.at - 1) < GOLD_CENTS
                && spend_of_a_year(&purchases, purchase.at) >= GOLD_CENTS
            {
                expected.insert((customer.clone(), purchase.at));
            }
        }
    }
    assert!(expected.len() > 50, "too few to show anything: {}", expected.len());
    check("spend.gold", true, &expected);
}

#[test]
fn gold_is_lost_exactly_when_an_old_order_leaves_the_year() {
    let mut expected = Moments::new();
    for (customer, purchases) in by_customer() {
        for purchase in &purchases {
            let leaves = purchase.at + 365 * DAY_MS;
            if spend_of_a_year(&purchases, leaves - 1) >= GOLD_CENTS && spend_of_a_year(&purchases, leaves) < GOLD_CENTS
            {
                expected.insert((customer.clone(), leaves));
            }
        }
    }
    check("spend.gold", false, &expected);
}

#[test]
fn customers_lapse_180_days_after_an_order_that_none_follows() {
    let mut lapses = Moments::new();
    let mut returns = Moments::new();
    let mut won_back = Moments::new();
    for (customer, purchases) in by_customer() {
        for (index, purchase) in purchases.iter().enumerate() {
            let lapse = purchase.at + 180 * DAY_MS;
            let next = purchases.get(index + 1).map(|next| next.at);
            if next.is_none_or(|next| next > lapse) {
                lapses.insert((customer.clone(), lapse));
                returns.extend(next.map(|next| (customer.clone(), next)));
            }
            won_back.extend(next.filter(|next| *next >= lapse).map(|next| (customer.clone(), next)));
        }
    }
    assert!(returns.len() > 100, "too few to show anything: {}", returns.len());
    check("lapsed", true, &lapses);
    check("lapsed", false, &returns);
    // An order that comes at the very instant of the lapse prevents it, and comes after 180 days without one all the same.
    assert_eq!(won_back.len(), returns.len() + 1, "the file has one such order");
    check("won_back", true, &won_back);
}

#[test]
fn frequent_customers_placed_four_orders_within_90_days() {
    let count =
        |purchases: &[Purchase], at: i64| purchases.iter().filter(|p| p.at <= at && at < p.at + 90 * DAY_MS).count();
    let (mut entered, mut left) = (Moments::new(), Moments::new());
    for (customer, purchases) in by_customer() {
        for purchase in &purchases {
            if count(&purchases, purchase.at) >= 4 && count(&purchases, purchase.at - 1) < 4 {
                entered.insert((customer.clone(), purchase.at));
            }
            let leaves = purchase.at + 90 * DAY_MS;
            if count(&purchases, leaves) < 4 && count(&purchases, leaves - 1) >= 4 {
                left.insert((customer.clone(), leaves));
            }
        }
    }
    check("frequent", true, &entered);
    check("frequent", false, &left);
}

#[test]
fn changes_of_a_customer_are_in_order_without_a_hole_and_alternate() {
    let mut sequences = BTreeMap::new();
    let mut instants = BTreeMap::new();
    let mut members = BTreeSet::new();
    for change in changes() {
        let customer = change.customer_id.as_str();
        let sequence = sequences.entry(customer).or_insert(0);
        *sequence += 1;
        assert_eq!(change.sequence, *sequence, "{change:?}");
        let last = instants.insert(customer, change.at).unwrap_or(i64::MIN);
        assert!(change.at >= last, "{change:?}");
        let membership = (customer, &*change.segment);
        let alternates = if change.entered { members.insert(membership) } else { members.remove(&membership) };
        assert!(alternates, "{change:?}");
        let n_tiers =
            members.iter().filter(|(member, segment)| *member == customer && segment.starts_with("spend.")).count();
        assert!(n_tiers <= 1, "{change:?} leaves the customer in {n_tiers} tiers");
    }
    let still_in: BTreeSet<&str> = members.iter().map(|(_, segment)| *segment).collect();
    assert_eq!(still_in, BTreeSet::from(["lapsed", "second_order_due"]), "years later nobody is in anything else");
}

/// Every change that the replay gives.
fn changes() -> &'static [Change] {
    static CHANGES: OnceLock<Vec<Change>> = OnceLock::new();
    CHANGES.get_or_init(|| {
        let events: String = purchases().iter().map(|purchase| purchase.event() + "\n").collect();
        let until: Timestamp = UNTIL.parse().unwrap();
        let schemas = SchemaSet::shipped().unwrap();
        let until = Some(until.as_millisecond());
        let replayed = replay(&definitions(), &schemas, TimeZone::UTC, &events, until, Options::default()).unwrap();
        assert_eq!(replayed.bad_lines, [], "every purchase counts");
        replayed.changes
    })
}

/// Who entered or left a segment when, against what was computed here.
fn check(segment: &str, entered: bool, expected: &Moments) {
    let found = moments(segment, entered);
    let surplus: Vec<_> = found.difference(expected).take(5).collect();
    let missing: Vec<_> = expected.difference(&found).take(5).collect();
    let verb = if entered { "entered" } else { "left" };
    assert!(surplus.is_empty() && missing.is_empty(), "{verb} {segment}: surplus {surplus:?}, missing {missing:?}");
}

fn moments(segment: &str, entered: bool) -> Moments {
    let of_segment = changes().iter().filter(|change| &*change.segment == segment && change.entered == entered);
    of_segment.map(|change| (change.customer_id.to_string(), change.at)).collect()
}

fn by_customer() -> BTreeMap<String, Vec<Purchase>> {
    let mut customers: BTreeMap<String, Vec<Purchase>> = BTreeMap::new();
    for purchase in purchases() {
        customers.entry(purchase.customer.clone()).or_default().push(purchase);
    }
    customers
}

/// In cents.
fn spend_of_a_year(purchases: &[Purchase], at: i64) -> i64 {
    let inside = purchases.iter().filter(|purchase| purchase.at <= at && at < purchase.at + 365 * DAY_MS);
    inside.map(|purchase| purchase.cents).sum()
}
