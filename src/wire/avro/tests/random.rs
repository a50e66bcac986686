//! Random schemas and values, written by apache-avro and decoded by both through random projections.

use apache_avro::reader::datum::GenericDatumReader;
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;

/// A random type.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Null,
    Bool,
    Int,
    Long,
    Float,
    Double,
    Text,
    Bytes,
    Enum,
    Uuid,
    Date,
    TimeOfDay,
    Timestamp(&'static str, i64),
    Decimal(u32),
    DecimalFixed(u32),
    Optional(Box<Kind>),
    Union(Vec<Kind>),
    Array(Box<Kind>),
    Map(Box<Kind>),
    Record(Vec<Kind>),
}

pub(super) fn kind() -> impl Strategy<Value = Kind> {
    let leaf = prop_oneof![
        Just(Kind::Null),
        Just(Kind::Bool),
        Just(Kind::Int),
        Just(Kind::Long),
        Just(Kind::Float),
        Just(Kind::Double),
        Just(Kind::Text),
        Just(Kind::Bytes),
        Just(Kind::Enum),
        Just(Kind::Uuid),
        Just(Kind::Date),
        Just(Kind::TimeOfDay),
        Just(Kind::Timestamp("timestamp-millis", 1)),
        Just(Kind::Timestamp("timestamp-micros", 1_000)),
        Just(Kind::Timestamp("local-timestamp-nanos", 1_000_000)),
        (0..9_u32).prop_map(Kind::Decimal),
        (0..9_u32).prop_map(Kind::DecimalFixed),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        let nullable = |kind: &Kind| !matches!(kind, Kind::Null | Kind::Optional(_) | Kind::Union(_));
        prop_oneof![
            boxed.clone().prop_filter("unions are not nested", move |kind| nullable(kind)).prop_map(Kind::Optional),
            boxed.clone().prop_map(Kind::Array),
            boxed.prop_map(Kind::Map),
            Just(Kind::Union(vec![Kind::Text, Kind::Long, Kind::Null])),
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Kind::Record),
            proptest::collection::vec(inner, 1..4).prop_map(|kinds| Kind::Array(Box::new(Kind::Record(kinds)))),
        ]
    })
}

/// Numbers names so that every type has its own.
#[derive(Default)]
pub(super) struct Names(u32);

impl Names {
    fn next(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
}

impl Kind {
    pub(super) fn schema(&self, names: &mut Names) -> String {
        match self {
            Self::Null => r#""null""#.to_owned(),
            Self::Bool => r#""boolean""#.to_owned(),
            Self::Int => r#""int""#.to_owned(),
            Self::Long => r#""long""#.to_owned(),
            Self::Float => r#""float""#.to_owned(),
            Self::Double => r#""double""#.to_owned(),
            Self::Text => r#""string""#.to_owned(),
            Self::Bytes => r#""bytes""#.to_owned(),
            Self::Enum => format!(r#"{{"type":"enum","name":"n{}","symbols":["A","B","C"]}}"#, names.next()),
            Self::Uuid => {
                format!(r#"{{"type":"fixed","name":"n{}","size":16,"logicalType":"uuid"}}"#, names.next())
            }
            Self::Date => r#"{"type":"int","logicalType":"date"}"#.to_owned(),
            Self::TimeOfDay => r#"{"type":"int","logicalType":"time-millis"}"#.to_owned(),
            Self::Timestamp(name, _) => format!(r#"{{"type":"long","logicalType":"{name}"}}"#),
            Self::Decimal(scale) => {
                format!(r#"{{"type":"bytes","logicalType":"decimal","precision":18,"scale":{scale}}}"#)
            }
            Self::DecimalFixed(scale) => format!(
                r#"{{"type":"fixed","name":"n{}","size":9,"logicalType":"decimal","precision":18,"scale":{scale}}}"#,
                names.next()
            ),
            Self::Optional(kind) => format!(r#"["null",{}]"#, kind.schema(names)),
            Self::Union(kinds) => {
                let branches: Vec<_> = kinds.iter().map(|kind| kind.schema(names)).collect();
                format!("[{}]", branches.join(","))
            }
            Self::Array(kind) => format!(r#"{{"type":"array","items":{}}}"#, kind.schema(names)),
            Self::Map(kind) => format!(r#"{{"type":"map","values":{}}}"#, kind.schema(names)),
            Self::Record(kinds) => {
                let name = names.next();
                let field =
                    |(index, kind): (usize, &Kind)| format!(r#"{{"name":"f{index}","type":{}}}"#, kind.schema(names));
                let fields: Vec<_> = kinds.iter().enumerate().map(field).collect();
                format!(r#"{{"type":"record","name":"n{name}","fields":[{}]}}"#, fields.join(","))
            }
        }
    }

    /// A value, from as much randomness as it takes.
    pub(super) fn value(&self, random: &mut Random) -> Avro {
        match self {
            Self::Null => Avro::Null,
            Self::Bool => Avro::Boolean(random.below(2) == 1),
            Self::Int => Avro::Int(random.integer() as i32),
            Self::Long => Avro::Long(random.integer()),
            Self::Float => Avro::Float(f32::from(random.integer() as i16) / 8.0),
            Self::Double => Avro::Double(f64::from(random.integer() as i32) / 100.0),
            Self::Text => Avro::String("é".repeat(random.below(20) as usize)),
            Self::Bytes => Avro::Bytes(vec![0xff; random.below(5) as usize]),
            Self::Enum => {
                let index = random.below(3) as u32;
                Avro::Enum(index, ["A", "B", "C"][index as usize].to_owned())
            }
            Self::Uuid => Avro::Uuid(apache_avro::Uuid::from_u128(u128::from(random.next()) << 64)),
            Self::Date => Avro::Date(random.below(100_000) as i32 - 50_000),
            Self::TimeOfDay => Avro::TimeMillis(random.below(1000) as i32),
            Self::Timestamp(name, unit) => {
                let at = random.integer() >> 20;
                match (*name, *unit) {
                    ("timestamp-millis", _) => Avro::TimestampMillis(at),
                    ("timestamp-micros", _) => Avro::TimestampMicros(at),
                    _ => Avro::LocalTimestampNanos(at),
                }
            }
            Self::Decimal(_) => {
                let bytes = random.integer().to_be_bytes();
                Avro::Decimal(bytes[random.below(8) as usize..].to_vec().into())
            }
            Self::DecimalFixed(_) => {
                let number = i128::from(random.integer()).to_be_bytes();
                Avro::Decimal(number[7..].to_vec().into())
            }
            Self::Optional(kind) => match random.below(3) {
                0 => Avro::Union(0, Box::new(Avro::Null)),
                _ => Avro::Union(1, Box::new(kind.value(random))),
            },
            Self::Union(kinds) => {
                let branch = random.below(kinds.len() as u64) as usize;
                Avro::Union(branch as u32, Box::new(kinds[branch].value(random)))
            }
            Self::Array(kind) => Avro::Array((0..random.below(4)).map(|_| kind.value(random)).collect()),
            Self::Map(kind) => Avro::Map((0..random.below(4)).map(|i| (format!("k{i}"), kind.value(random))).collect()),
            Self::Record(kinds) => {
                Avro::Record(kinds.iter().enumerate().map(|(i, kind)| (format!("f{i}"), kind.value(random))).collect())
            }
        }
    }

    /// All paths to single values, and all to arrays of records with the paths inside them.
    pub(super) fn paths(&self, path: &str, inside: bool, found: &mut Vec<String>) {
        match self {
            Self::Optional(kind) => kind.paths(path, inside, found),
            Self::Array(kind) => {
                if !inside && matches!(**kind, Self::Record(_)) {
                    let mut fields = Vec::new();
                    kind.paths("", true, &mut fields);
                    if !fields.is_empty() {
                        found.push(format!("{path}/{}", fields.join(",")));
                    }
                }
                kind.paths(path, inside, found);
            }
            Self::Record(kinds) => {
                for (index, kind) in kinds.iter().enumerate() {
                    let dot = if path.is_empty() { "" } else { "." };
                    kind.paths(&format!("{path}{dot}f{index}"), inside, found);
                }
            }
            Self::Null | Self::Bytes | Self::TimeOfDay | Self::Union(_) | Self::Map(_) => {}
            _ => found.push(path.to_owned()),
        }
    }

    fn single(&self, value: &Avro) -> Value {
        let number = |text: String| Value::Number(text.parse().unwrap());
        match (self, value) {
            (_, Avro::Boolean(truth)) => Value::Bool(*truth),
            (_, Avro::Int(n)) => Value::Number((*n).into()),
            (_, Avro::Long(n)) => Value::Number((*n).into()),
            (_, Avro::Float(n)) => number(n.to_string()),
            (_, Avro::Double(n)) => number(n.to_string()),
            (_, Avro::String(text) | Avro::Enum(_, text)) => Value::text(text),
            (_, Avro::Uuid(uuid)) => Value::text(&uuid.to_string()),
            (_, Avro::Date(days)) => Value::Instant(i64::from(*days) * 86_400_000),
            (_, Avro::TimestampMillis(at)) => Value::Instant(*at),
            (_, Avro::TimestampMicros(at)) => Value::Instant(at.div_euclid(1_000)),
            (_, Avro::LocalTimestampNanos(at)) => Value::Instant(at.div_euclid(1_000_000)),
            (Self::Decimal(scale) | Self::DecimalFixed(scale), Avro::Decimal(decimal)) => {
                let bytes = <Vec<u8>>::try_from(decimal).unwrap();
                let sign = if bytes.first().is_some_and(|b| *b >= 128) { -1 } else { 0 };
                let mantissa = bytes.iter().fold(sign, |n: i128, byte| (n << 8) | i128::from(*byte));
                Value::Number(Decimal::from_i128_with_scale(mantissa, *scale))
            }
            other => panic!("no single value: {other:?}"),
        }
    }

    /// What a path leads to, found the slow way. `listed` becomes true once an array was passed.
    fn collect(&self, value: &Avro, path: &[String], listed: &mut bool, found: &mut Vec<Value>) {
        match (self, value) {
            (_, Avro::Null) => {}
            (Self::Optional(kind), Avro::Union(_, value)) => kind.collect(value, path, listed, found),
            (Self::Array(kind), Avro::Array(items)) => {
                *listed = true;
                for item in items {
                    kind.collect(item, path, listed, found);
                }
            }
            (Self::Record(kinds), Avro::Record(fields)) => {
                let index: usize = path[0][1..].parse().unwrap();
                kinds[index].collect(&fields[index].1, &path[1..], listed, found);
            }
            _ => found.push(self.single(value)),
        }
    }

    /// What a path leads to.
    pub(super) fn expected(&self, value: &Avro, path: &[String]) -> Value {
        let (mut listed, mut found) = (false, Vec::new());
        self.collect(value, path, &mut listed, &mut found);
        if listed { Value::List(found.into()) } else { found.pop().unwrap_or_default() }
    }

    /// What the fields of an array's elements lead to, element by element.
    pub(super) fn expected_elements(&self, value: &Avro, array: &ProjectedArray) -> Vec<Vec<Value>> {
        let mut elements = Vec::new();
        self.elements(value, &array.path, &mut elements);
        let fields =
            |(kind, value): &(&Self, &Avro)| array.fields.iter().map(|f| kind.expected(value, &f.path)).collect();
        elements.iter().map(fields).collect()
    }

    /// The records that an array's path leads to, in order.
    fn elements<'a>(&'a self, value: &'a Avro, path: &[String], found: &mut Vec<(&'a Kind, &'a Avro)>) {
        match (self, value) {
            (Self::Optional(kind), Avro::Union(_, value)) => kind.elements(value, path, found),
            (Self::Array(kind), Avro::Array(items)) => {
                for item in items {
                    kind.elements(item, path, found);
                }
            }
            (Self::Record(_), Avro::Record(_)) if path.is_empty() => found.push((self, value)),
            (Self::Record(kinds), Avro::Record(fields)) => {
                let index: usize = path[0][1..].parse().unwrap();
                kinds[index].elements(&fields[index].1, &path[1..], found);
            }
            _ => {}
        }
    }
}

/// A small generator, so that values follow from one seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ (mixed >> 33)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Small and large ones alike.
    fn integer(&mut self) -> i64 {
        let shift = self.below(60);
        self.next().cast_signed() >> shift
    }
}

/// A schema of events with these kinds as fields, an event of it, and some of the paths into it.
fn case(kinds: &[Kind], seed: u64) -> (String, Avro, Vec<String>) {
    let mut names = Names::default();
    let field = |(index, kind): (usize, &Kind)| format!(r#"{{"name":"f{index}","type":{}}}"#, kind.schema(&mut names));
    let schema = event(&kinds.iter().enumerate().map(field).collect::<Vec<_>>());
    let mut random = Random(seed);
    let Avro::Record(fields) = Kind::Record(kinds.to_vec()).value(&mut random) else { unreachable!() };
    let value = event_value(fields.iter().map(|(name, value)| (name.as_str(), value.clone())).collect());
    let mut paths = Vec::new();
    Kind::Record(kinds.to_vec()).paths("", false, &mut paths);
    paths.retain(|_| random.below(3) > 0);
    (schema, value, paths)
}

fn check(kinds: &[Kind], seed: u64) {
    let (text, value, paths) = case(kinds, seed);
    let set = reader(&text);
    let schema = Schema::parse_str(&text).unwrap();
    let bytes = encode(&schema, value);
    let theirs = GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut bytes.as_slice()).unwrap();
    let Avro::Record(fields) = theirs else { panic!("no record") };
    let body = Avro::Record(fields[3..].to_vec());
    let root = Kind::Record(kinds.to_vec());

    let projection = projection(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    let mut decoder = Decoder::new(&schema, set.get("e").unwrap(), EventTypeId(7), &projection).unwrap();
    let mut record = blank();
    for _ in 0..2 {
        decoder.decode_into(&bytes, &mut record).unwrap();
        let Body::Event(event) = &record.body else { panic!("no event") };
        assert_eq!((record.envelope.customer_id.as_str(), record.envelope.occurred_at), ("who", 1_000));
        for (field, ours) in projection.fields.iter().zip(&event.fields) {
            assert_eq!(*ours, root.expected(&body, &field.path), "{field:?}");
        }
        assert_eq!(event.elements.len(), projection.arrays.len());
        for (array, ours) in projection.arrays.iter().zip(&event.elements) {
            assert_eq!(*ours, root.expected_elements(&body, array), "{array:?}");
        }
    }
    for end in 0..bytes.len() {
        assert!(decoder.decode_into(&bytes[..end], &mut record).is_err(), "cut at {end} of {}", bytes.len());
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(decoder.decode_into(&longer, &mut record), Err(DecodeError::TrailingBytes));
    let mut random = Random(seed);
    for _ in 0..20 {
        let mut broken = bytes.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(broken.len() as u64) as usize;
            broken[at] = random.next() as u8;
        }
        let _ = decoder.decode_into(&broken, &mut record);
    }
    decoder.decode_into(&bytes, &mut record).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_decoders_find_the_same(kinds in proptest::collection::vec(kind(), 1..6), seed: u64) {
        check(&kinds, seed);
    }

    #[test]
    fn noise_is_harmless(kinds in proptest::collection::vec(kind(), 1..6), noise: Vec<u8>, seed: u64) {
        let (text, _, paths) = case(&kinds, seed);
        let projection = projection(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        let set = reader(&text);
        let schema = Schema::parse_str(&text).unwrap();
        let mut decoder = Decoder::new(&schema, set.get("e").unwrap(), EventTypeId(7), &projection).unwrap();
        let mut bytes = vec![2, b'i', 2, b'c', 0];
        bytes.extend(noise);
        let _ = decoder.decode_into(&bytes, &mut blank());
    }
}
