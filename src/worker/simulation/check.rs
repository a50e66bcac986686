//! What must be true in the end, whatever happened: the invariants I1 to I10.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::broker::{Broker, Committed};
use super::ranked::{evaluated, told, unnumbered, without_ranks};
use super::reference::Reference;
use super::scene::Scene;
use super::traffic::INPUTS;
use crate::engine::effects::Change;
use crate::partition::is_customer;
use crate::store::Store as _;
use crate::wire;
use crate::wire::change::{membership_key, write_json, write_membership_json};
use crate::worker::dead_letter::Explanation;
use crate::worker::marker::{Marker, StoredMarker};
use crate::worker::restore::TRUSTED_MS;

/// Keys and their last values.
pub(super) type Latest = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// All that is not as an engine that never failed would have left it.
pub(super) fn check(scene: &Scene, reference: &Reference, directories: &[PathBuf], is_ranked: bool) -> Vec<String> {
    let broker = scene.broker();
    let mut complaints = Vec::new();
    let mut changes: BTreeMap<String, Vec<Change>> = BTreeMap::new();
    let mut letters = Vec::new();
    for number in broker.numbers("segue-changelog") {
        let commits = broker.commits(number);
        complaints.extend(going_on(number, commits));
        complaints.extend(agreeing(&broker, number, commits.last().map(|commit| &commit.marker)));
        let changelog = latest(&broker, "segue-changelog", number);
        let told = reference.follow(number, commits);
        let (expected, found) = (told.customers, customers(changelog.clone()));
        complaints.extend(same("I1 state of", &expected, &comparable(&expected, found, is_ranked)));
        complaints.extend(evaluated(number, commits, &changelog));
        for change in told.changes {
            changes.entry(change.customer_id.to_string()).or_default().push(change);
        }
        letters.extend(told.refused);
        for directory in directories {
            let path = directory.join("segue").join(format!("partition-{number}"));
            complaints.extend(stored(scene, &broker, number, &path, &changelog));
        }
    }
    complaints.extend(changed(&broker, &changes, is_ranked));
    complaints.extend(members(&broker, &changes, is_ranked));
    complaints.extend(told(&broker));
    complaints.extend(refused(&broker, letters));
    let open = broker.topics.iter().filter(|(_, partitions)| partitions.iter().any(|one| one.stable() != one.high()));
    complaints.extend(open.map(|(topic, _)| format!("I5 {topic} has an open transaction")));
    complaints
}

/// I8: offsets and clock of a partition go on from one transaction to the next.
fn going_on(number: i32, commits: &[Committed]) -> Vec<String> {
    let pairs = commits.iter().zip(commits.iter().skip(1)).map(|(one, next)| (&one.marker, &next.marker));
    let goes_on = |(one, next): &(&Marker, &Marker)| {
        next.clock >= one.clock && one.offsets.iter().all(|(topic, offset)| next.offsets.get(topic) >= Some(offset))
    };
    let complaint = |(one, next)| format!("I8 partition {number} goes from {one:?} to {next:?}");
    pairs.filter(|pair| !goes_on(pair)).map(complaint).collect()
}

/// I3: the last marker and the group name the same offsets.
fn agreeing(broker: &Broker, number: i32, marker: Option<&Marker>) -> Vec<String> {
    let of_marker = |topic: &str| marker.and_then(|marker| marker.offsets.get(topic)).copied();
    let pairs =
        INPUTS.iter().map(|(_, topic)| (*topic, of_marker(topic), broker.committed(topic, number).ok().flatten()));
    let differ = pairs.filter(|(_, marker, group)| marker != group);
    differ.map(|(topic, marker, group)| format!("I3 {topic} {number}: marker {marker:?}, group {group:?}")).collect()
}

pub(super) fn latest(broker: &Broker, topic: &str, number: i32) -> Latest {
    let records = broker.partition(topic, number).committed();
    records.map(|(_, slot)| (slot.record.key.clone().unwrap_or_default(), slot.record.value.clone())).collect()
}

fn customers(latest: Latest) -> Latest {
    latest.into_iter().filter(|(key, value)| is_customer(key) && value.is_some()).collect()
}

fn same(what: &str, expected: &Latest, found: &Latest) -> Vec<String> {
    let keys = expected.keys().chain(found.keys().filter(|key| !expected.contains_key(*key)));
    let differ = keys.filter(|key| expected.get(*key) != found.get(*key));
    let text = |value: Option<&Option<Vec<u8>>>| {
        let customer = value.and_then(|value| wire::customer::decode(value.as_deref()?).ok());
        customer.map_or_else(|| "nothing".to_owned(), |customer| format!("{customer:?}"))
    };
    let complaint = |key: &Vec<u8>| {
        let (expected, found) = (text(expected.get(key)), text(found.get(key)));
        format!("{what} {}: expected {expected}, found {found}", String::from_utf8_lossy(key))
    };
    differ.map(complaint).collect()
}

/// Customers as they are once those were looked at whose deadlines are earlier than they need be, which no instant of a
/// change depends on: an engine that was restarted does not know what a deadline was made of. And without their ranks.
fn comparable(expected: &Latest, mut found: Latest, is_ranked: bool) -> Latest {
    let decoded = |bytes: &Option<Vec<u8>>| wire::customer::decode(bytes.as_deref()?).ok();
    for (key, value) in &mut found {
        let Some(expected) = expected.get(key).and_then(decoded) else { continue };
        let Some(mut customer) = decoded(value) else { continue };
        let is_early = customer.deadline.is_some_and(|early| expected.deadline.is_none_or(|deadline| early < deadline));
        if is_early {
            customer.deadline = expected.deadline;
        }
        if is_ranked {
            without_ranks(&mut customer, &expected);
        }
        if is_early || is_ranked {
            *value = Some(wire::customer::encode(&customer));
        }
    }
    found
}

/// I4: a store lists its customers under their deadlines, and what the changelog holds from its marker on makes it whole.
fn stored(scene: &Scene, broker: &Broker, number: i32, path: &Path, changelog: &Latest) -> Vec<String> {
    let disks = scene.disks();
    let Some(store) = disks.get(path) else { return Vec::new() };
    // One that was left half filled has none.
    let Some(marker) = store.marker().unwrap() else { return Vec::new() };
    let StoredMarker { changelog_position: position, written_at, .. } = StoredMarker::decode(&marker).unwrap();
    let entries = store.scan(None, usize::MAX).unwrap().into_iter();
    let mut found = customers(entries.map(|(key, value)| (key, Some(value))).collect());
    let deadline = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| {
        let customer = wire::customer::decode(value.as_deref()?).ok()?;
        Some((customer.deadline?, key.clone()))
    };
    let mut expected: Vec<_> = found.iter().filter_map(deadline).collect();
    expected.sort_unstable();
    let listed = store.due(i64::MAX, None, usize::MAX).unwrap();
    let mut complaints = Vec::new();
    if listed != expected {
        complaints.push(format!("I4 {} lists {listed:?} instead of {expected:?}", path.display()));
    }
    if written_at + TRUSTED_MS < scene.now() {
        // The changelog may have forgotten what it does not know.
        return complaints;
    }
    let ahead = broker.partition("segue-changelog", number).committed().filter(|(offset, _)| *offset >= position);
    found.extend(ahead.map(|(_, slot)| (slot.record.key.clone().unwrap_or_default(), slot.record.value.clone())));
    complaints.extend(same("I4 store of", &customers(changelog.clone()), &customers(found)));
    complaints
}

/// I2: each customer's changes, in order: none lost, doubled or changed.
fn changed(broker: &Broker, expected: &BTreeMap<String, Vec<Change>>, is_ranked: bool) -> Vec<String> {
    let found = changes(broker);
    let json = |change: &Change| {
        let mut bytes = Vec::new();
        write_json(change, &mut bytes);
        String::from_utf8(bytes).unwrap()
    };
    let customers = expected.keys().chain(found.keys().filter(|id| !expected.contains_key(*id)));
    let mut complaints = Vec::new();
    for id in customers {
        let mut expected: Vec<String> = expected.get(id).into_iter().flatten().map(json).collect();
        let mut found = found.get(id).cloned().unwrap_or_default();
        if is_ranked {
            expected.retain_mut(unnumbered);
            found.retain_mut(unnumbered);
        }
        if expected != found {
            let at = expected.iter().zip(&found).take_while(|(expected, found)| expected == found).count();
            let (expected, found) = (expected.get(at), found.get(at));
            complaints.push(format!("I2 change {at} of {id}:\n  expected {expected:?}\n  found    {found:?}"));
        }
    }
    complaints
}

/// I2 for memberships: the last one of each customer and segment.
fn members(broker: &Broker, changes: &BTreeMap<String, Vec<Change>>, is_ranked: bool) -> Vec<String> {
    let mut expected: BTreeMap<Vec<u8>, Option<String>> = BTreeMap::new();
    for change in changes.values().flatten() {
        let mut bytes = Vec::new();
        write_membership_json(change, &mut bytes);
        let key = membership_key(&change.customer_id, &change.segment).into_bytes();
        expected.insert(key, change.entered.then(|| String::from_utf8(bytes).unwrap()));
    }
    let found = broker.numbers("memberships").flat_map(|number| latest(broker, "memberships", number));
    let text = |value: Option<Vec<u8>>| value.map(|value| String::from_utf8(value).unwrap());
    let mut found: BTreeMap<_, _> = found.map(|(key, value)| (key, text(value))).collect();
    // A removal may be forgotten one day, and is as good as nothing.
    expected.retain(|_, value| value.is_some());
    found.retain(|_, value| value.is_some());
    if is_ranked {
        expected.retain(|_, value| value.as_mut().is_some_and(unnumbered));
        found.retain(|_, value| value.as_mut().is_some_and(unnumbered));
    }
    let keys = expected.keys().chain(found.keys().filter(|key| !expected.contains_key(*key)));
    let differ = keys.filter(|key| expected.get(*key) != found.get(*key));
    differ.map(|key| format!("I2 membership {} differs", String::from_utf8_lossy(key))).collect()
}

/// The changes of each customer as they are to be read, in order.
pub(super) fn changes(broker: &Broker) -> BTreeMap<String, Vec<String>> {
    let mut changes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, slot) in broker.numbers("changes").flat_map(|number| broker.partition("changes", number).committed()) {
        let text = |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
        changes.entry(text(&slot.record.key)).or_default().push(text(&slot.record.value));
    }
    changes
}

/// I10: each record that is refused has one dead letter, and nothing else has one.
fn refused(broker: &Broker, mut expected: Vec<(String, i32, i64)>) -> Vec<String> {
    let mut found = Vec::new();
    for (_, slot) in
        broker.numbers("dead_letters").flat_map(|number| broker.partition("dead_letters", number).committed())
    {
        let mut headers = slot.record.headers.clone();
        let Explanation { topic, partition, offset, .. } = Explanation::take(&mut headers).unwrap();
        found.push((topic, partition, offset));
    }
    expected.sort();
    found.sort();
    if found == expected { Vec::new() } else { vec![format!("I10 dead letters {found:?}, expected {expected:?}")] }
}
