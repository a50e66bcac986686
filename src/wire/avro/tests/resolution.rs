//! Random pairs of schemas, one grown out of the other, read by both decoders: our program, and apache-avro's resolution
//! of a value. Aliases are put into the writer's names for apache-avro, which does not know them; that is how Avro
//! defines them.

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema_compatibility::SchemaCompatibility;
use proptest::prelude::*;

use super::random::{Kind, Random, kind};
use super::*;

/// What a producer with another version of the schema writes where ours has a [`Kind`].
#[derive(Debug, Clone)]
enum Written {
    /// As we have it, or promoted from another single type: a schema, and how to make a value of it.
    Leaf(String, Kind),
    Enum(Vec<&'static str>, String),
    Bare(Box<Written>),
    /// A union with null, which is the branch of this number.
    Optional(Box<Written>, u32),
    Union(Vec<(Kind, &'static str)>),
    Array(Box<Written>),
    Map(Box<Written>),
    /// Its name, and fields: the name written, the name we have for it, and the type.
    Record(String, Vec<(String, String, Written)>),
}

/// Two versions of a type.
struct Versions {
    written: Written,
    /// Our schema.
    ours: String,
}

struct Grower {
    random: Random,
    n_names: u32,
}

const SYMBOLS: [&str; 3] = ["A", "B", "C"];

impl Grower {
    fn name(&mut self, letter: char) -> String {
        self.n_names += 1;
        format!("{letter}{}", self.n_names)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.random.below(n) == 0
    }

    /// Two versions of a type, ours being of this kind.
    fn grow(&mut self, kind: &Kind) -> Versions {
        match kind {
            Kind::Optional(inner) => self.optional(inner),
            Kind::Array(items) => {
                let Versions { written, ours } = self.grow(items);
                let ours = format!(r#"{{"type":"array","items":{ours}}}"#);
                Versions { written: Written::Array(Box::new(written)), ours }
            }
            Kind::Map(values) => {
                let Versions { written, ours } = self.grow(values);
                let ours = format!(r#"{{"type":"map","values":{ours}}}"#);
                Versions { written: Written::Map(Box::new(written)), ours }
            }
            Kind::Record(kinds) => {
                let (name, older) = (self.name('n'), self.name('m'));
                self.record(kinds, &name, &older, 0)
            }
            Kind::Enum => self.symbols(),
            Kind::Union(_) => {
                let ours = r#"["string","long","null"]"#.to_owned();
                let branches = vec![(Kind::Int, r#""int""#), (Kind::Null, r#""null""#), (Kind::Text, r#""string""#)];
                Versions { written: Written::Union(branches), ours }
            }
            single => {
                let Versions { written, ours } = self.single(single);
                let is_null = matches!(single, Kind::Null);
                // What may be unknown to the producer and not to us is refused only when it is unknown.
                let written = if !is_null && self.one_in(8) {
                    Written::Optional(Box::new(written), self.random.below(2) as u32)
                } else {
                    written
                };
                Versions { written, ours }
            }
        }
    }

    fn optional(&mut self, inner: &Kind) -> Versions {
        let Versions { written, ours } = match inner {
            Kind::Array(_) | Kind::Map(_) | Kind::Record(_) | Kind::Enum => self.grow(inner),
            single => self.single(single),
        };
        let ours = format!(r#"["null",{ours}]"#);
        let written = match self.random.below(3) {
            0 => Written::Bare(Box::new(written)),
            1 => Written::Optional(Box::new(written), 1),
            _ => Written::Optional(Box::new(written), 0),
        };
        Versions { written, ours }
    }

    fn symbols(&mut self) -> Versions {
        let name = self.name('n');
        let mut symbols = SYMBOLS.to_vec();
        symbols.rotate_left(self.random.below(3) as usize);
        let mut default = "";
        if self.one_in(2) {
            symbols.insert(0, "NEWER");
            default = r#","default":"B""#;
        }
        let ours = format!(r#"{{"type":"enum","name":"{name}","symbols":["A","B","C"]{default}}}"#);
        Versions { written: Written::Enum(symbols, name), ours }
    }

    /// A single type, promoted half of the time.
    fn single(&mut self, kind: &Kind) -> Versions {
        let name = self.name('n');
        let ours = match kind {
            Kind::Uuid => format!(r#"{{"type":"fixed","name":"{name}","size":16,"logicalType":"uuid"}}"#),
            Kind::DecimalFixed(scale) => format!(
                r#"{{"type":"fixed","name":"{name}","size":9,"logicalType":"decimal","precision":18,"scale":{scale}}}"#
            ),
            other => other.schema(&mut random::Names::default()),
        };
        let from = |schema: &str, kind: Kind| Written::Leaf(schema.to_owned(), kind);
        let promoted = match kind {
            Kind::Long => from(r#""int""#, Kind::Int),
            Kind::Float => from(r#""int""#, Kind::Date),
            Kind::Double if self.one_in(2) => from(r#""float""#, Kind::Float),
            Kind::Double => from(r#""long""#, Kind::Timestamp("small", 1)),
            Kind::Text => from(r#""bytes""#, Kind::Bytes),
            Kind::Bytes => from(r#""string""#, Kind::Text),
            Kind::Date | Kind::TimeOfDay => from(r#""int""#, Kind::Date),
            Kind::Timestamp(..) => from(r#""long""#, Kind::Timestamp("small", 1)),
            same => from(&ours, same.clone()),
        };
        let written = if self.one_in(2) { promoted } else { from(&ours, kind.clone()) };
        Versions { written, ours }
    }

    /// `older` is what the producer calls the record. With `depth` 0 fields may come, go, move and change their names.
    fn record(&mut self, kinds: &[Kind], name: &str, older: &str, depth: usize) -> Versions {
        let (mut written, mut ours) = (Vec::new(), Vec::new());
        for (index, kind) in kinds.iter().enumerate() {
            let field = format!("f{index}");
            if depth == 0 && self.one_in(4) {
                let (schema, default) = self.with_default(kind);
                ours.push(format!(r#"{{"name":"{field}","type":{schema},"default":{default}}}"#));
                continue;
            }
            let versions = self.grow(kind);
            let (called, alias) = match self.random.below(3) {
                0 => (format!("g{index}"), format!(r#","aliases":["other","g{index}"]"#)),
                _ => (field.clone(), String::new()),
            };
            ours.push(format!(r#"{{"name":"{field}","type":{}{alias}}}"#, versions.ours));
            written.push((called, field, versions.written));
        }
        if self.one_in(2) {
            let gone = self.grow(&Kind::Array(Box::new(Kind::Map(Box::new(Kind::Text)))));
            written.push(("gone".to_owned(), "gone".to_owned(), gone.written));
        }
        for index in (1..written.len()).rev() {
            written.swap(index, self.random.below(index as u64 + 1) as usize);
        }
        let aliases = format!(r#""aliases":["{older}"],"#);
        let ours = format!(r#"{{"type":"record","name":"{name}",{aliases}"fields":[{}]}}"#, ours.join(","));
        Versions { written: Written::Record(older.to_owned(), written), ours }
    }

    /// Our schema of a field that the producer does not know, and its default.
    fn with_default(&mut self, kind: &Kind) -> (String, String) {
        let ours = self.grow(kind).ours;
        (ours, default_of(kind))
    }
}

/// A default, as Avro writes it in JSON.
fn default_of(kind: &Kind) -> String {
    let text = match kind {
        Kind::Null | Kind::Optional(_) => "null",
        Kind::Bool => "true",
        Kind::Int | Kind::Date | Kind::TimeOfDay => "-3",
        Kind::Long | Kind::Timestamp(..) => "1234567",
        Kind::Float | Kind::Double => "0.25",
        Kind::Text | Kind::Union(_) => r#""é\"""#,
        Kind::Bytes => r#""\u00ff""#,
        Kind::Enum => r#""C""#,
        Kind::Uuid => r#""0123456789abcdef""#,
        Kind::Decimal(_) => r#""\u0000\u0000\u0000\u0000\u0000\u0000\u0004\u00d2""#,
        Kind::DecimalFixed(_) => r#""\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00fe""#,
        Kind::Array(items) => return format!("[{}]", default_of(items)),
        Kind::Map(values) => return format!(r#"{{"k":{}}}"#, default_of(values)),
        Kind::Record(kinds) => {
            // Grown with depth 0, so that some fields of it have a default; here every one is given.
            let field = |(index, kind)| format!(r#""f{index}":{}"#, default_of(kind));
            let fields: Vec<_> = kinds.iter().enumerate().map(field).collect();
            return format!("{{{}}}", fields.join(","));
        }
    };
    text.to_owned()
}

impl Written {
    /// The schema, with the producer's own names or with ours for the same things.
    fn schema(&self, own_names: bool) -> String {
        match self {
            Self::Leaf(schema, _) => schema.clone(),
            Self::Enum(symbols, name) => {
                let symbols: Vec<_> = symbols.iter().map(|symbol| format!("\"{symbol}\"")).collect();
                format!(r#"{{"type":"enum","name":"{name}","symbols":[{}]}}"#, symbols.join(","))
            }
            Self::Bare(inner) => inner.schema(own_names),
            Self::Optional(inner, 0) => format!(r#"["null",{}]"#, inner.schema(own_names)),
            Self::Optional(inner, _) => format!(r#"[{},"null"]"#, inner.schema(own_names)),
            Self::Union(branches) => {
                let branches: Vec<_> = branches.iter().map(|(_, schema)| *schema).collect();
                format!("[{}]", branches.join(","))
            }
            Self::Array(items) => format!(r#"{{"type":"array","items":{}}}"#, items.schema(own_names)),
            Self::Map(values) => format!(r#"{{"type":"map","values":{}}}"#, values.schema(own_names)),
            Self::Record(name, fields) => {
                let field = |(own, ours, written): &(String, String, Self)| {
                    format!(
                        r#"{{"name":"{}","type":{}}}"#,
                        if own_names { own } else { ours },
                        written.schema(own_names)
                    )
                };
                let fields: Vec<_> = fields.iter().map(field).collect();
                format!(r#"{{"type":"record","name":"{name}","fields":[{}]}}"#, fields.join(","))
            }
        }
    }

    /// A value, by the producer's own names.
    fn value(&self, random: &mut Random) -> Avro {
        match self {
            Self::Leaf(schema, kind) => match (schema.as_str(), kind) {
                (r#""int""#, _) => Avro::Int(random.below(60_000) as i32 - 30_000),
                (r#""long""#, Kind::Timestamp("small", _)) => Avro::Long(random.below(1 << 40).cast_signed() - 1000),
                (r#""bytes""#, _) => Avro::Bytes("né".into()),
                (_, Kind::Decimal(_)) => Avro::Decimal((random.next() >> 1).to_be_bytes().to_vec().into()),
                _ => kind.value(random),
            },
            Self::Enum(symbols, _) => {
                let index = random.below(symbols.len() as u64) as u32;
                Avro::Enum(index, symbols[index as usize].to_owned())
            }
            Self::Bare(inner) => inner.value(random),
            Self::Optional(inner, null) => match random.below(4) {
                0 => Avro::Union(*null, Box::new(Avro::Null)),
                _ => Avro::Union(1 - *null, Box::new(inner.value(random))),
            },
            Self::Union(branches) => {
                let branch = random.below(branches.len() as u64) as usize;
                let value = match &branches[branch].0 {
                    Kind::Int => Avro::Int(7),
                    other => other.value(random),
                };
                Avro::Union(branch as u32, Box::new(value))
            }
            Self::Array(items) => Avro::Array((0..random.below(4)).map(|_| items.value(random)).collect()),
            Self::Map(values) => {
                Avro::Map((0..random.below(3)).map(|i| (format!("k{i}"), values.value(random))).collect())
            }
            Self::Record(_, fields) => {
                Avro::Record(fields.iter().map(|(own, _, written)| (own.clone(), written.value(random))).collect())
            }
        }
    }
}

/// The envelope is part of every record, so it goes through the same.
fn schema_text(name: &str, aliases: &str, fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { "," };
    format!(r#"{{"type":"record","name":"{name}",{aliases}"fields":[{ENVELOPE}{comma}{fields}]}}"#)
}

/// What is between the brackets of a record's fields.
fn fields_of(record: &str) -> &str {
    let start = record.find(r#""fields":["#).unwrap() + r#""fields":["#.len();
    &record[start..record.len() - 2]
}

fn check(kinds: &[Kind], seed: u64) -> bool {
    let mut grower = Grower { random: Random(seed), n_names: 0 };
    let Versions { written, ours } = grower.record(kinds, "e", "e_older", 0);
    let ours = schema_text("e", r#""aliases":["e_older"],"#, fields_of(&ours));
    let theirs = schema_text("e_older", "", fields_of(&written.schema(true)));
    // Apache-avro compares values with schemas, so the record's own name is of no matter to it.
    let renamed = schema_text("e", "", fields_of(&written.schema(false)));
    let set = reader(&ours);
    let (writer, renamed) = (Schema::parse_str(&theirs).unwrap(), Schema::parse_str(&renamed).unwrap());
    let reader_schema = Schema::parse_str(&ours).unwrap();

    let mut random = grower.random;
    let Avro::Record(fields) = written.value(&mut random) else { unreachable!() };
    let value = event_value(fields.iter().map(|(name, value)| (name.as_str(), value.clone())).collect());
    let bytes = encode(&writer, value);

    let reader = set.reader_of(&writer).expect("found by its alias");
    let mut paths = Vec::new();
    let root = Kind::Record(kinds.to_vec());
    root.paths("", false, &mut paths);
    paths.retain(|_| random.below(4) > 0);
    let projection = projection(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    let decoder = Decoder::new(&writer, reader, EventTypeId(1), &projection);
    if let Err(error) = &decoder {
        let compatible = SchemaCompatibility::can_read(&renamed, &reader_schema);
        assert!(compatible.is_err(), "{error}\n{theirs}\n{ours}");
    }
    let resolved = GenericDatumReader::builder(&renamed)
        .reader_schema(&reader_schema)
        .build()
        .unwrap()
        .read_value(&mut &bytes[..]);
    let Ok(Avro::Record(fields)) = resolved else {
        // What is unknown and may not be, or a symbol that nobody knows: refused, unless nobody wants it.
        return false;
    };
    let body = Avro::Record(fields[3..].to_vec());
    let mut decoder = decoder.unwrap();
    let mut record = blank();
    for _ in 0..2 {
        decoder.decode_into(&bytes, &mut record).unwrap_or_else(|error| panic!("{error}\n{theirs}\n{ours}"));
        let Body::Event(event) = &record.body else { panic!("no event") };
        for (field, found) in projection.fields.iter().zip(&event.fields) {
            assert_eq!(*found, root.expected(&body, &field.path), "{field:?}\n{theirs}\n{ours}");
        }
        for (array, found) in projection.arrays.iter().zip(&event.elements) {
            assert_eq!(*found, root.expected_elements(&body, array), "{array:?}\n{theirs}\n{ours}");
        }
    }
    harm(&mut decoder, &bytes, seed);
    true
}

/// No bytes but the right ones are taken for a whole record, and none does harm.
fn harm(decoder: &mut Decoder, bytes: &[u8], seed: u64) {
    let mut record = blank();
    for end in 0..bytes.len() {
        assert!(decoder.decode_into(&bytes[..end], &mut record).is_err(), "cut at {end} of {}", bytes.len());
    }
    let longer = [bytes, &[0]].concat();
    assert_eq!(decoder.decode_into(&longer, &mut record), Err(DecodeError::TrailingBytes));
    let mut random = Random(seed);
    for _ in 0..20 {
        let mut broken = bytes.to_vec();
        let at = random.below(broken.len() as u64) as usize;
        broken[at] = random.next() as u8;
        let _ = decoder.decode_into(&broken, &mut record);
    }
    decoder.decode_into(bytes, &mut record).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn another_version_is_read_as_avro_resolves_it(kinds in proptest::collection::vec(kind(), 1..6), seed: u64) {
        check(&kinds, seed);
    }
}

#[test]
fn most_random_versions_can_be_read() {
    let kinds = [Kind::Text, Kind::Optional(Box::new(Kind::Long)), Kind::Record(vec![Kind::Enum, Kind::Double])];
    let n_read = (0..200).filter(|seed| check(&kinds, *seed)).count();
    assert!(n_read > 100, "{n_read}");
}

/// What cannot be read as ours is refused when the schema is first met, exactly where Avro says so.
#[test]
fn what_cannot_be_resolved_is_refused_as_avro_does() {
    let types = [
        r#""null""#,
        r#""boolean""#,
        r#""int""#,
        r#""long""#,
        r#""float""#,
        r#""double""#,
        r#""string""#,
        r#""bytes""#,
        r#"{"type":"enum","name":"s","symbols":["A"]}"#,
        r#"{"type":"fixed","name":"x","size":3}"#,
        r#"{"type":"array","items":"int"}"#,
        r#"{"type":"array","items":["null","double"]}"#,
        r#"{"type":"map","values":"long"}"#,
        r#"{"type":"record","name":"r","fields":[{"name":"a","type":"int"}]}"#,
        r#"{"type":"record","name":"r","fields":[{"name":"a","type":"long"},{"name":"b","type":"int","default":1}]}"#,
        r#"{"type":"record","name":"r","fields":[{"name":"b","type":"string"}]}"#,
        r#"["null","string"]"#,
        r#"["null","long"]"#,
        r#"["int","null","string"]"#,
    ];
    let field = |avro: &str| event(&[format!(r#"{{"name":"f","type":{avro}}}"#)]);
    let mut n_refused = 0;
    for written in types {
        for ours in types {
            let (writer, text) = (Schema::parse_str(&field(written)).unwrap(), field(ours));
            let avro_says = SchemaCompatibility::can_read(&writer, &Schema::parse_str(&text).unwrap());
            let set = reader(&text);
            let we_say = Decoder::new(&writer, set.get("e").unwrap(), EventTypeId(1), &projection(&["f"]));
            // Avro's own check wants every branch of the producer's union to be readable. We read those that are.
            if avro_says.is_ok() {
                assert!(we_say.is_ok(), "{written} as {ours}: {:?}", we_say.err());
            } else if !written.starts_with('[') {
                assert!(we_say.is_err(), "{written} as {ours} should be refused");
                n_refused += 1;
            }
        }
    }
    assert!(n_refused > 100, "{n_refused}");
}
