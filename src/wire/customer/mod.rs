//! The stored form of a customer: what RocksDB and the changelog hold.
//!
//! One version byte, then own time, what [`head`] tells (the deadline, the last erasure, the standings) and the other
//! fields of [`Customer`] in order. Instants are distances from own time, lists have a length in front, names are the stable
//! hashes of the catalog. A new field goes at the end, with a new version byte. Older versions stay readable: 1, which had the
//! head scattered among the rest, and 2, which had entries where windows of `top` have counts.

mod bytes;

use std::sync::Arc;

pub use bytes::Unreadable;
use bytes::{Reader, Writer};
use smallvec::SmallVec;

use crate::engine::accumulator::{Accumulator, Hashes};
use crate::engine::counts::{Counts, Sighting};
use crate::engine::customer::{Customer, Dated, Standing};
use crate::engine::pattern::{Keys, Occurrence, Occurrences, PatternState, Rank};
use crate::engine::series::{Entries, Entry, Series};
use crate::engine::value::Value;
use crate::engine::values::{Seen, Values};

/// The version written today.
const VERSION: u8 = 3;
/// The first one, whose head is not in front.
const SCATTERED: u8 = 1;

/// What can be told of a stored customer without reading them whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// When time alone may next change something, milliseconds since the epoch.
    pub deadline: Option<i64>,
    /// The segments they are in, by key.
    pub memberships: SmallVec<[u64; 16]>,
}

/// The bytes of a customer.
#[must_use]
pub fn encode(customer: &Customer) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_into(customer, &mut bytes);
    bytes
}

fn encode_into(customer: &Customer, bytes: &mut Vec<u8>) {
    let mut writer = Writer { bytes: std::mem::take(bytes), origin: 0 };
    let w = &mut writer;
    w.byte(VERSION);
    option(w, customer.own_time, Writer::instant);
    w.origin = customer.own_time.unwrap_or(0);
    option(w, customer.deadline, Writer::instant);
    option(w, customer.erased_at, Writer::instant);
    list(w, &customer.standings, |w, standing| {
        w.byte(u8::from(standing.member) | u8::from(standing.when) << 1 | u8::from(standing.until) << 2);
        if standing.member {
            w.instant(standing.since);
        }
    });
    w.unsigned(customer.arrivals);
    w.unsigned(customer.sequence);
    w.length(customer.recent_ids.len());
    for (hash, at) in &customer.recent_ids {
        w.hash(*hash);
        w.instant(*at);
    }
    list(w, &customer.profile, |w, dated| {
        value(w, &dated.value);
        w.instant(dated.at);
    });
    list(w, &customer.consents, |w, dated| {
        w.byte(dated.value.into());
        w.instant(dated.at);
    });
    list(w, &customer.aggregates, series);
    list(w, &customer.patterns, |w, pattern| {
        occurrences(w, &pattern.a);
        occurrences(w, &pattern.b);
    });
    list(w, &customer.holds, |w, since| w.instant(*since));
    *bytes = writer.bytes;
}

/// Appends the bytes of a customer and, behind them, of what is derived and not stored, for as long as the engine is the same.
/// How many of them are to be stored.
pub fn pack(customer: &Customer, bytes: &mut Vec<u8>) -> usize {
    let start = bytes.len();
    encode_into(customer, bytes);
    let n_stored = bytes.len() - start;
    if let Some(untils) = customer.schedule.untils() {
        let mut writer = Writer { bytes: std::mem::take(bytes), origin: customer.own_time.unwrap_or(0) };
        writer.length(untils.len());
        for (timer, until) in untils {
            writer.unsigned(u64::from(*timer));
            writer.instant(*until);
        }
        *bytes = writer.bytes;
    }
    n_stored
}

/// Makes a customer of bytes that were [packed](pack), or only [encoded](encode); so many of them are what is stored. What the
/// customer was before goes, but not the memory of their lists, which is used again.
///
/// # Errors
/// When the bytes are damaged or of a version not known here; what the customer is then is of no use.
pub fn unpack(bytes: &[u8], n_stored: usize, customer: &mut Customer) -> Result<(), Unreadable> {
    let (stored, derived) = bytes.split_at_checked(n_stored).ok_or(Unreadable)?;
    decode_into(stored, customer)?;
    if !derived.is_empty() {
        let mut reader = Reader { bytes: derived, origin: customer.own_time.unwrap_or(0) };
        let timer = |r: &mut Reader<'_>| u32::try_from(r.unsigned()?).map_err(|_| Unreadable);
        let untils = customer.schedule.begin();
        let length = reader.length()?;
        untils.reserve(length);
        for _ in 0..length {
            untils.push((timer(&mut reader)?, reader.instant()?));
        }
    }
    Ok(())
}

/// The customer of some bytes.
///
/// # Errors
/// When they are damaged or of a version not known here.
pub fn decode(bytes: &[u8]) -> Result<Customer, Unreadable> {
    let mut customer = Customer::default();
    decode_into(bytes, &mut customer)?;
    Ok(customer)
}

fn decode_into(bytes: &[u8], customer: &mut Customer) -> Result<(), Unreadable> {
    let (version, own_time, mut reader) = begin(bytes)?;
    let r = &mut reader;
    customer.own_time = own_time;
    customer.schedule.forget();
    if version == SCATTERED {
        (customer.arrivals, customer.sequence) = (r.unsigned()?, r.unsigned()?);
        (customer.deadline, customer.erased_at) = read_instants(r)?;
    } else {
        (customer.deadline, customer.erased_at) = read_instants(r)?;
        read_list(r, &mut customer.standings, read_standing)?;
        (customer.arrivals, customer.sequence) = (r.unsigned()?, r.unsigned()?);
    }
    customer.recent_ids.clear();
    let length = r.length()?;
    customer.recent_ids.reserve(length);
    for _ in 0..length {
        customer.recent_ids.push_back((r.hash()?, r.instant()?));
    }
    read_list(r, &mut customer.profile, |r| Ok(Dated { value: read_value(r)?, at: r.instant()? }))?;
    read_list(r, &mut customer.consents, |r| Ok(Dated { value: r.byte()? != 0, at: r.instant()? }))?;
    read_list(r, &mut customer.aggregates, read_series)?;
    read_list(r, &mut customer.patterns, |r| Ok(PatternState { a: read_occurrences(r)?, b: read_occurrences(r)? }))?;
    read_list(r, &mut customer.holds, Reader::instant)?;
    if version == SCATTERED {
        read_list(r, &mut customer.standings, read_standing)?;
    }
    if r.bytes.is_empty() { Ok(()) } else { Err(Unreadable) }
}

/// What is in front in the bytes of a customer. Damage further on goes unnoticed.
///
/// # Errors
/// When what is in front is damaged, or all of it is of a version not known here.
pub fn head(bytes: &[u8]) -> Result<Head, Unreadable> {
    let (version, _, mut reader) = begin(bytes)?;
    if version == SCATTERED {
        let Customer { deadline, standings, .. } = decode(bytes)?;
        let memberships = standings.iter().filter(|(_, standing)| standing.member).map(|(segment, _)| *segment);
        return Ok(Head { deadline, memberships: memberships.collect() });
    }
    let r = &mut reader;
    let mut head = Head { deadline: read_instants(r)?.0, memberships: SmallVec::new() };
    for _ in 0..r.length()? {
        let segment = r.hash()?;
        if read_standing(r)?.member {
            head.memberships.push(segment);
        }
    }
    Ok(head)
}

/// The version and own time, and the rest.
fn begin(bytes: &[u8]) -> Result<(u8, Option<i64>, Reader<'_>), Unreadable> {
    let mut reader = Reader { bytes, origin: 0 };
    let version = reader.byte()?;
    if !(SCATTERED..=VERSION).contains(&version) {
        return Err(Unreadable);
    }
    let own_time = read_option(&mut reader, Reader::instant)?;
    reader.origin = own_time.unwrap_or(0);
    Ok((version, own_time, reader))
}

/// The deadline and the last erasure.
fn read_instants(r: &mut Reader<'_>) -> Result<(Option<i64>, Option<i64>), Unreadable> {
    Ok((read_option(r, Reader::instant)?, read_option(r, Reader::instant)?))
}

fn option<T>(w: &mut Writer, value: Option<T>, write: impl FnOnce(&mut Writer, T)) {
    w.byte(value.is_some().into());
    if let Some(value) = value {
        write(w, value);
    }
}

fn read_option<'a, T>(
    r: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Unreadable>,
) -> Result<Option<T>, Unreadable> {
    if r.byte()? == 0 { Ok(None) } else { read(r).map(Some) }
}

fn list<T>(w: &mut Writer, entries: &[(u64, T)], write: impl Fn(&mut Writer, &T)) {
    w.length(entries.len());
    for (key, entry) in entries {
        w.hash(*key);
        write(w, entry);
    }
}

/// Into the place of what the list held.
fn read_list<'a, T>(
    r: &mut Reader<'a>,
    list: &mut Vec<(u64, T)>,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, Unreadable>,
) -> Result<(), Unreadable> {
    list.clear();
    let length = r.length()?;
    list.reserve(length);
    for _ in 0..length {
        list.push((r.hash()?, read(r)?));
    }
    Ok(())
}

/// So many as a length in front says.
fn read_many<'a, T>(
    r: &mut Reader<'a>,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, Unreadable>,
) -> Result<Vec<T>, Unreadable> {
    let length = r.length()?;
    let mut entries = Vec::with_capacity(length);
    for _ in 0..length {
        entries.push(read(r)?);
    }
    Ok(entries)
}

/// The same of what is mostly few.
fn read_few<'a, const N: usize, T>(
    r: &mut Reader<'a>,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, Unreadable>,
) -> Result<SmallVec<[T; N]>, Unreadable> {
    let mut entries = SmallVec::new();
    let length = r.length()?;
    entries.reserve(length);
    for _ in 0..length {
        entries.push(read(r)?);
    }
    Ok(entries)
}

fn read_standing(r: &mut Reader<'_>) -> Result<Standing, Unreadable> {
    let flags = r.byte()?;
    let member = flags & 1 != 0;
    let since = if member { r.instant()? } else { 0 };
    Ok(Standing { member, when: flags & 2 != 0, until: flags & 4 != 0, since })
}

fn series(w: &mut Writer, series: &Series) {
    match series {
        Series::Whole { start, accumulator: whole } => {
            w.byte(0);
            // Most have no start: distances from own time would make that one long.
            option(w, Some(*start).filter(|start| *start != i64::MIN), Writer::instant);
            accumulator(w, whole);
        }
        Series::Entries(entries) => {
            w.byte(1);
            w.length(entries.len());
            for entry in entries {
                w.instant(entry.youngest);
                accumulator(w, &entry.accumulator);
            }
        }
        Series::Counts(counts) => {
            w.byte(2);
            self::counts(w, counts);
        }
    }
}

fn read_series(r: &mut Reader<'_>) -> Result<Series, Unreadable> {
    match r.byte()? {
        0 => Ok(Series::Whole {
            start: read_option(r, Reader::instant)?.unwrap_or(i64::MIN),
            accumulator: read_accumulator(r)?,
        }),
        1 => {
            let entry = |r: &mut Reader<'_>| Ok(Entry { youngest: r.instant()?, accumulator: read_accumulator(r)? });
            read_few(r, entry).map(entries_or_counts)
        }
        2 => read_counts(r).map(Series::Counts),
        _ => Err(Unreadable),
    }
}

/// Before version 3 `top` had entries as well.
fn entries_or_counts(entries: Entries) -> Series {
    if entries.is_empty() {
        return Series::Entries(entries);
    }
    let mut counts = Counts::default();
    for entry in &entries {
        let Accumulator::Values(values) = &entry.accumulator else { return Series::Entries(entries) };
        for Seen { value, count, .. } in values.as_slice() {
            counts.append(entry.youngest, value, *count);
        }
    }
    Series::Counts(counts)
}

/// Of each sighting how much later it was than the one before, and the number of its value; the lowest bit of that tells that
/// there were several.
fn counts(w: &mut Writer, counts: &Counts) {
    w.length(counts.values().len());
    counts.values().iter().for_each(|seen| value(w, seen));
    w.length(counts.sightings().len());
    let mut before = None;
    for Sighting { youngest, count, number } in counts.sightings() {
        match before.replace(*youngest) {
            None => w.instant(*youngest),
            Some(before) => w.unsigned(youngest.abs_diff(before)),
        }
        w.unsigned(u64::from(*number) << 1 | u64::from(*count > 1));
        if *count > 1 {
            w.unsigned((*count).into());
        }
    }
}

fn read_counts(r: &mut Reader<'_>) -> Result<Counts, Unreadable> {
    let values = read_few(r, read_value)?;
    let mut before: Option<i64> = None;
    let sightings = read_few(r, |r| {
        let youngest = match before {
            None => r.instant()?,
            Some(before) => before.checked_add_unsigned(r.unsigned()?).ok_or(Unreadable)?,
        };
        before = Some(youngest);
        let number = r.unsigned()?;
        let count = if number & 1 == 0 { 1 } else { r.unsigned()? };
        let small = |number: u64| u32::try_from(number).map_err(|_| Unreadable);
        Ok(Sighting { youngest, count: small(count)?, number: small(number >> 1)? })
    })?;
    Counts::restored(values, sightings).ok_or(Unreadable)
}

fn accumulator(w: &mut Writer, accumulator: &Accumulator) {
    match accumulator {
        Accumulator::Count(count) => {
            w.byte(0);
            w.unsigned(*count);
        }
        Accumulator::Sum(total) => {
            w.byte(1);
            option(w, *total, Writer::decimal);
        }
        Accumulator::Average(count, total) => {
            w.byte(2);
            w.unsigned(*count);
            option(w, *total, Writer::decimal);
        }
        Accumulator::Least(least) => {
            w.byte(3);
            value(w, least);
        }
        Accumulator::Greatest(most) => {
            w.byte(4);
            value(w, most);
        }
        Accumulator::First(at, first) => {
            w.byte(5);
            w.instant(*at);
            value(w, first);
        }
        Accumulator::Last(at, last) => {
            w.byte(6);
            w.instant(*at);
            value(w, last);
        }
        Accumulator::Values(values) => {
            w.byte(7);
            let values = values.as_slice();
            w.length(values.len());
            for seen in values {
                value(w, &seen.value);
                w.unsigned(seen.count);
                w.instant(seen.at);
            }
        }
        Accumulator::Hashes(hashes) => {
            w.byte(8);
            w.unsigned(hashes.n_zeros.into());
            w.length(hashes.seen.len());
            for (hash, at) in &hashes.seen {
                w.hash(*hash);
                w.instant(*at);
            }
        }
    }
}

fn read_accumulator(r: &mut Reader<'_>) -> Result<Accumulator, Unreadable> {
    Ok(match r.byte()? {
        0 => Accumulator::Count(r.unsigned()?),
        1 => Accumulator::Sum(read_option(r, Reader::decimal)?),
        2 => Accumulator::Average(r.unsigned()?, read_option(r, Reader::decimal)?),
        3 => Accumulator::Least(read_value(r)?),
        4 => Accumulator::Greatest(read_value(r)?),
        5 => Accumulator::First(r.instant()?, read_value(r)?),
        6 => Accumulator::Last(r.instant()?, read_value(r)?),
        7 => {
            let seen = |r: &mut Reader<'_>| Ok(Seen { value: read_value(r)?, count: r.unsigned()?, at: r.instant()? });
            Accumulator::Values(Values::of(read_many(r, seen)?))
        }
        8 => Accumulator::Hashes(Hashes {
            n_zeros: u32::try_from(r.unsigned()?).map_err(|_| Unreadable)?,
            seen: read_many(r, |r| Ok((r.hash()?, r.instant()?)))?,
        }),
        _ => return Err(Unreadable),
    })
}

fn value(w: &mut Writer, value_: &Value) {
    match value_ {
        Value::Unknown => w.byte(0),
        Value::Bool(truth) => w.byte(1 + u8::from(*truth)),
        Value::Number(number) => {
            w.byte(3);
            w.decimal(*number);
        }
        Value::Text(text) => {
            w.byte(4);
            w.text(text);
        }
        Value::Instant(instant) => {
            w.byte(5);
            w.instant(*instant);
        }
        Value::Duration(duration_ms) => {
            w.byte(6);
            w.decimal(*duration_ms);
        }
        Value::List(items) => {
            w.byte(7);
            w.length(items.len());
            items.iter().for_each(|item| value(w, item));
        }
    }
}

fn read_value(r: &mut Reader<'_>) -> Result<Value, Unreadable> {
    Ok(match r.byte()? {
        0 => Value::Unknown,
        1 => Value::Bool(false),
        2 => Value::Bool(true),
        3 => Value::Number(r.decimal()?),
        4 => Value::text(r.text()?),
        5 => Value::Instant(r.instant()?),
        6 => Value::Duration(r.decimal()?),
        7 => Value::List(read_items(r)?),
        _ => return Err(Unreadable),
    })
}

/// The items of a list; lists of lists do not exist, so damage cannot nest them without end.
fn read_items(r: &mut Reader<'_>) -> Result<Arc<[Value]>, Unreadable> {
    let items = read_many(r, |r| match r.bytes.first() {
        Some(7) => Err(Unreadable),
        _ => read_value(r),
    });
    Ok(items?.into())
}

fn occurrences(w: &mut Writer, occurrences: &[Occurrence]) {
    w.length(occurrences.len());
    for occurrence in occurrences {
        w.instant(occurrence.at);
        w.unsigned(occurrence.rank.0);
        w.length(occurrence.keys.len());
        for key in &occurrence.keys {
            w.length(key.len());
            key.iter().for_each(|hash| w.hash(*hash));
        }
    }
}

fn read_occurrences(r: &mut Reader<'_>) -> Result<Occurrences, Unreadable> {
    read_few(r, |r| {
        let (at, rank) = (r.instant()?, Rank(r.unsigned()?));
        let mut keys = Keys::new();
        for _ in 0..r.length()? {
            keys.push((0..r.length()?).map(|_| r.hash()).collect::<Result<_, _>>()?);
        }
        Ok(Occurrence { at, rank, keys })
    })
}
#[cfg(test)]
mod tests;
