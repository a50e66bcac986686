//! What is written comes back, also what version 1 wrote; and what is in front can be read alone.

use rust_decimal::Decimal;

use super::*;
use crate::engine::customer::Schedule;

const NOON_MS: i64 = 1_780_000_000_000;

/// A customer with something of each kind.
fn everything() -> Customer {
    let ten = || Value::Number(Decimal::new(10, 0));
    let texts: Arc<[Value]> = [Value::text("é"), Value::Bool(true), Value::Bool(false), Value::Unknown].into();
    let seen = Seen { value: Value::List(texts), count: 3, at: NOON_MS - 5 };
    let accumulators = [
        Accumulator::Count(300),
        Accumulator::Sum(Some(Decimal::new(-1_995, 2))),
        Accumulator::Sum(None),
        Accumulator::Average(2, Some(Decimal::MAX)),
        Accumulator::Least(Value::Duration(Decimal::new(15, 1))),
        Accumulator::Greatest(ten()),
        Accumulator::First(NOON_MS - 86_400_000, Value::Instant(NOON_MS)),
        Accumulator::Last(NOON_MS, Value::text("shoes")),
        Accumulator::Values(Values::of(vec![seen])),
        Accumulator::Hashes(Hashes { n_zeros: 2, seen: vec![(7, NOON_MS - 1)] }),
    ];
    let whole = |accumulator| Series::Whole { start: i64::MIN, accumulator };
    let mut aggregates: Vec<_> = (1..).zip(accumulators.map(whole)).collect();
    aggregates.push((20, Series::Whole { start: NOON_MS - 43_200_000, accumulator: Accumulator::Count(1) }));
    let entry = |age_ms| Entry { youngest: NOON_MS - age_ms, accumulator: Accumulator::Count(1) };
    aggregates.push((u64::MAX, Series::Entries([entry(200), entry(3)].into())));
    let keys = Keys::from_iter([[5, 6].into_iter().collect(), std::iter::empty().collect()]);
    let occurrence = Occurrence { at: NOON_MS - 60_000, rank: Rank::new(12, 1), keys };
    let standing = |member, when, until, since| Standing { member, when, until, since };
    Customer {
        own_time: Some(NOON_MS),
        arrivals: 1_234,
        sequence: 5,
        deadline: Some(NOON_MS + 3_600_000),
        erased_at: Some(NOON_MS - 1_000_000_000),
        recent_ids: [(0x1234_5678_9abc_def0, NOON_MS - 4), (1, NOON_MS)].into(),
        profile: vec![(3, Dated { value: ten(), at: NOON_MS })],
        consents: vec![(4, Dated { value: true, at: NOON_MS }), (9, Dated { value: false, at: 0 })],
        aggregates,
        patterns: vec![(8, PatternState { a: [occurrence].into_iter().collect(), ..PatternState::default() })],
        holds: vec![(11, NOON_MS - 1)],
        standings: vec![
            (21, standing(true, true, false, NOON_MS - 77)),
            (22, standing(false, true, true, 0)),
            (u64::MAX, standing(true, false, false, NOON_MS)),
        ],
        schedule: Schedule::default(),
    }
}

/// What version 1 wrote of it.
const OF_VERSION_1: &str = "\
    010180a0a484ce67d209050180bab70301ffa7d6b90702f0debc9a7856341207010000000000000000010300000000000000\
    030014000204000000000000000100090000000000000000ff9fa484ce670c0100000000000000000000ac02020000000000\
    00000000010102951f0300000000000000000001000400000000000000000002020100feffffffffffffffffffffffff3f05\
    0000000000000000000306011e06000000000000000000040300140700000000000000000005ffefb2520500080000000000\
    000000000600040573686f657309000000000000000000070107040402c3a902010003090a00000000000000000008020107\
    000000000000000114000000000000000001ffb799290001ffffffffffffffff01028f030001050001010800000000000000\
    01bfa9078180300202050000000000000006000000000000000000010b000000000000000103150000000000000003990116\
    0000000000000006ffffffffffffffff0100";

fn bytes_of(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[track_caller]
fn check(bytes: &[u8], customer: &Customer) {
    assert_eq!(decode(bytes).as_ref(), Ok(customer));
    let members = customer.standings.iter().filter(|(_, standing)| standing.member).map(|(segment, _)| *segment);
    let expected = Head { deadline: customer.deadline, memberships: members.collect() };
    assert_eq!(head(bytes), Ok(expected));
    for length in 0..bytes.len() {
        assert_eq!(decode(&bytes[..length]), Err(Unreadable), "the first {length} bytes");
    }
    assert_eq!(decode(&[bytes, &[0]].concat()), Err(Unreadable));
}

#[test]
fn what_is_written_comes_back() {
    check(&encode(&everything()), &everything());
    check(&encode(&Customer::default()), &Customer::default());
}

#[test]
fn any_number_of_values_comes_back() {
    for n_values in 0..4 {
        let seen = |count| Seen { value: Value::text("shoes"), count, at: NOON_MS };
        let accumulator = Accumulator::Values(Values::of((0..n_values).map(seen).collect()));
        let series = Series::Whole { start: i64::MIN, accumulator };
        let customer = Customer { aggregates: vec![(1, series)], ..Customer::default() };
        check(&encode(&customer), &customer);
    }
}

fn customer_of(series: Series) -> Customer {
    Customer { own_time: Some(NOON_MS), aggregates: vec![(1, series)], ..Customer::default() }
}

/// Of three sightings, two of which are in one bucket.
fn counts() -> Counts {
    let mut counts = Counts::default();
    counts.append(NOON_MS - 70, &Value::text("shoes"), 1);
    counts.append(NOON_MS - 70, &Value::text("books"), 300);
    counts.append(NOON_MS, &Value::text("shoes"), 2);
    counts
}

#[test]
fn counts_come_back() {
    let customer = customer_of(Series::Counts(counts()));
    check(&encode(&customer), &customer);
}

#[test]
fn the_number_of_no_value_is_damage() {
    let mut bytes = encode(&customer_of(Series::Counts(counts())));
    let (place, number) = bytes.iter().enumerate().rfind(|(_, byte)| **byte == 3).unwrap();
    assert_eq!(*number, 3, "of the second value, several times");
    bytes[place] = 5;
    assert_eq!(decode(&bytes), Err(Unreadable));
}

#[test]
fn what_were_entries_of_values_once_are_counts() {
    let seen = |text, count, at| Seen { value: Value::text(text), count, at };
    let entry = |youngest, seen| Entry { youngest, accumulator: Accumulator::Values(Values::of(seen)) };
    let bucket = entry(NOON_MS - 70, vec![seen("shoes", 1, NOON_MS - 80), seen("books", 300, NOON_MS - 70)]);
    let entries = [bucket, entry(NOON_MS, vec![seen("shoes", 2, NOON_MS)])];
    let mut bytes = encode(&customer_of(Series::Entries(entries.into())));
    bytes[0] = 2;
    assert_eq!(decode(&bytes), Ok(customer_of(Series::Counts(counts()))));
}

#[test]
fn what_version_1_wrote_comes_back() {
    check(&bytes_of(OF_VERSION_1), &everything());
}

#[test]
fn the_head_is_read_without_the_rest() {
    let bytes = encode(&everything());
    let mut others = everything();
    (others.recent_ids, others.profile, others.aggregates) = Default::default();
    let n_common = bytes.iter().zip(encode(&others)).take_while(|(one, other)| **one == *other).count();
    assert_eq!(head(&bytes[..n_common]), head(&bytes));
    assert_eq!(head(&bytes[..10]), Err(Unreadable));
}

#[test]
fn other_versions_are_refused() {
    for version in [0, 4, 255] {
        let mut bytes = encode(&everything());
        bytes[0] = version;
        assert_eq!((decode(&bytes), head(&bytes)), (Err(Unreadable), Err(Unreadable)));
    }
}

#[test]
fn who_is_packed_comes_back_with_what_is_derived_and_nothing_of_who_was_there_before() {
    let mut customer = everything();
    customer.schedule.begin().extend([(3, NOON_MS + 5), (700, i64::MIN)]);
    let mut bytes = Vec::new();
    let n_stored = pack(&customer, &mut bytes);
    assert_eq!(bytes[..n_stored], encode(&customer));
    let mut unpacked = everything();
    unpacked.schedule.begin().push((1, 2));
    unpack(&bytes, n_stored, &mut unpacked).unwrap();
    assert_eq!(unpacked, customer);
    assert_eq!(unpacked.schedule.untils(), Some(&[(3, NOON_MS + 5), (700, i64::MIN)][..]));
    for length in n_stored + 1..bytes.len() {
        assert_eq!(unpack(&bytes[..length], n_stored, &mut unpacked), Err(Unreadable), "the first {length} bytes");
    }

    let nobody = encode(&Customer::default());
    unpack(&nobody, nobody.len(), &mut unpacked).unwrap();
    assert_eq!((&unpacked, unpacked.schedule.untils()), (&Customer::default(), None));
}
