//! What must be true of segments with percentiles. Who is in one depends on when everybody was asked about, so that no
//! reference can say; but in the end each is where what is in force puts them, and that is right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::broker::{Broker, Committed};
use super::check::{Latest, changes, latest};
use super::site::{is_ranked, limits, site};
use crate::engine::Engine;
use crate::engine::catalog::{Catalog, key};
use crate::engine::customer::Customer;
use crate::engine::percentile::Distribution;
use crate::partition::{ErasureKey, Partition, customer_id_of};
use crate::store::memory::MemoryStore;
use crate::store::{Batch, Store as _, Update};
use crate::wire;
use crate::wire::distribution::{Dated, decode};

/// Makes a customer one of whom nobody ever asked for a rank.
pub(super) fn without_ranks(customer: &mut Customer, expected: &Customer) {
    let segments = site().catalogs.iter().flat_map(|catalog| &catalog.segments);
    let ranked: BTreeSet<u64> =
        segments.filter(|segment| is_ranked(&segment.name)).map(|segment| segment.key).collect();
    customer.standings.retain(|(segment, _)| !ranked.contains(segment));
    customer.sequence = expected.sequence;
    customer.own_time = customer.own_time.min(expected.own_time).or(expected.own_time);
}

/// A change or membership without what depends on changes of ranks; whether it is none of those itself.
pub(super) fn unnumbered(json: &mut String) -> bool {
    let mut fields: BTreeMap<String, Value> = serde_json::from_str(json).unwrap();
    fields.retain(|name, _| name != "sequence" && name != "change_id");
    *json = serde_json::to_string(&fields).unwrap();
    !is_ranked(fields["segment"].as_str().unwrap())
}

fn changelogs(broker: &Broker) -> Vec<Latest> {
    broker.numbers("segue-changelog").map(|number| latest(broker, "segue-changelog", number)).collect()
}

/// I2 by itself: a customer's changes are numbered without a hole, enter and leave in turn, and lead to the memberships.
pub(super) fn told(broker: &Broker) -> Vec<String> {
    let mut members: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut complaints = Vec::new();
    for (id, changes) in changes(broker) {
        let of_customer = members.entry(id.clone()).or_default();
        for (number, text) in (1_u64..).zip(changes) {
            let change: Value = serde_json::from_str(&text).unwrap();
            let segment = key(change["segment"].as_str().unwrap());
            let is_turn =
                if change["change"] == "entered" { of_customer.insert(segment) } else { of_customer.remove(&segment) };
            if !is_turn || change["sequence"] != number {
                complaints.push(format!("I2 change {number} of {id} is out of turn: {text}"));
            }
        }
    }
    members.retain(|_, segments| !segments.is_empty());
    let mut stored: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for (id, customer) in changelogs(broker).iter().flat_map(customers) {
        let segments = customer.standings.iter().filter(|(_, standing)| standing.member).map(|(segment, _)| *segment);
        let segments: BTreeSet<u64> = segments.collect();
        if !segments.is_empty() {
            stored.insert(id, segments);
        }
    }
    if members != stored {
        complaints.push(format!("I2 told of members {members:?}, and the changelog has {stored:?}"));
    }
    complaints
}

fn customers(changelog: &Latest) -> Vec<(String, Customer)> {
    let customer = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| {
        Some((customer_id_of(key)?.to_owned(), wire::customer::decode(value.as_deref()?).ok()?))
    };
    changelog.iter().filter_map(customer).collect()
}

fn catalog(commits: &[Committed]) -> Option<&'static Arc<Catalog>> {
    let marker = commits.last().map(|commit| &commit.marker).filter(|marker| !marker.unfinished)?;
    site().catalog(marker.definitions)
}

/// The distributions that a partition has in force, by percentile.
fn in_force(catalog: &Catalog, changelog: &Latest) -> Vec<(u64, Dated)> {
    let dated = |key: u64| {
        let stored = [b"p".as_slice(), &key.to_be_bytes()].concat();
        Some((key, decode(changelog.get(&stored)?.as_deref()?).unwrap()))
    };
    catalog.percentiles.iter().filter_map(|percentile| dated(percentile.key)).collect()
}

/// I11: evaluating everybody anew, under the definitions and distributions that were at work last, turns nothing.
pub(super) fn evaluated(number: i32, commits: &[Committed], changelog: &Latest) -> Vec<String> {
    let Some(catalog) = catalog(commits) else { return Vec::new() };
    if in_force(catalog, changelog).iter().any(|(_, dated)| !dated.applied) {
        return Vec::new();
    }
    let updates = changelog.iter().map(|(key, value)| Update::relisted(key.clone(), value.clone(), None, None));
    let mut store = MemoryStore::default();
    store.write(&Batch { updates: updates.collect(), marker: None }).unwrap();
    // What falls due at the very instant of the clock waits for the next one.
    let clock = commits.last().and_then(|commit| commit.marker.clock).map(|clock| clock - 1);
    let engine = Engine::new(catalog.clone(), limits());
    let mut partition = Partition::new(engine, store, ErasureKey::default(), clock).resumed().unwrap();
    for (id, _) in customers(changelog) {
        partition.redefine(&id).unwrap();
    }
    let turned = partition.take_changes();
    turned.iter().map(|change| format!("I11 looked at again in partition {number}, there is {change:?}")).collect()
}

/// I11 across partitions: once nothing has happened for long, and all have the same definitions, what is in force is how the
/// values of all customers are distributed.
pub(super) fn ranked(broker: &Broker) -> Vec<String> {
    let commits = broker.numbers("segue-changelog").map(|number| broker.commits(number));
    let catalogs: Vec<_> = commits.map(catalog).collect();
    let Some(Some(catalog)) = catalogs.first().filter(|first| catalogs.iter().all(|other| same(**first, *other)))
    else {
        return Vec::new();
    };
    let changelogs: Vec<Latest> = changelogs(broker);
    let mut engine = Engine::new(Arc::clone(catalog), limits());
    let mut values = vec![Vec::new(); catalog.percentiles.len()];
    for (id, customer) in changelogs.iter().flat_map(customers) {
        for (values, reading) in values.iter_mut().zip(engine.ranked(&id, &customer, i64::MIN)) {
            values.extend(reading.and_then(|reading| reading.value.position()));
        }
    }
    let expected: Vec<_> = values.into_iter().map(Distribution::of).collect();
    let mut complaints = Vec::new();
    for (number, changelog) in changelogs.iter().enumerate() {
        let found = in_force(catalog, changelog);
        let found: Vec<_> = found.into_iter().map(|(_, dated)| dated.distribution).collect();
        if found != expected {
            complaints.push(format!("I11 partition {number} compares with {found:?} instead of {expected:?}"));
        }
    }
    complaints
}

fn same(one: Option<&Arc<Catalog>>, other: Option<&Arc<Catalog>>) -> bool {
    one.map(|catalog| catalog.hash) == other.map(|catalog| catalog.hash)
}
