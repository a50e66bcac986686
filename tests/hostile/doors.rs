//! The doors that outside bytes come in by, each with what must hold whatever comes in. Used by the bounded run on every
//! machine (`tests/hostile/main.rs`) and by the endless one (`fuzz/`).

use std::sync::Arc;

use jiff::tz::TimeZone;
use segue::definition::{self, load_texts, parser};
use segue::engine::catalog::{Catalog, EventTypeId};
use segue::engine::projection::Projection;
use segue::engine::record::{Body, Envelope, Record};
use segue::wire::avro::Decoder;
use segue::wire::container::{Container, Next};
use segue::wire::customer;
use segue::wire::framing::frame;
use segue::wire::json::JsonDecoder;
use segue::wire::schema::SchemaSet;

/// What decoders are made from: the shipped schemas, and definitions that want something of every kind of field.
pub(crate) struct Doors {
    pub(crate) schemas: SchemaSet,
    pub(crate) catalog: Arc<Catalog>,
    json: JsonDecoder,
    avro: Vec<Decoder>,
    record: Record,
}

/// Definitions that name fields of every event, elements and lists among them.
const WANTS: &str = r#"
profile: [{name: born, type: instant}, {name: tags, type: list of text}, {name: n, type: number}]
traits: [{name: colours, value: list(purchase.items.category over 30d)}]
segments:
  - {name: a, when: 'count(click where page = "x" and utm_source != "y" over 1h) > 1', carry: [colours, born]}
  - {name: b, when: 'sum(each purchase.items.price where quantity > 1 over 30d) > 10 or trait.tags contains "a"'}
  - {name: c, when: did(cart_abandonment without purchase on items.product_id within 1h), purpose: marketing}
"#;

impl Doors {
    pub(crate) fn open() -> Self {
        let schemas = SchemaSet::shipped().expect("the shipped schemas are right");
        let files = [("wants.yaml".to_owned(), WANTS.to_owned())];
        let definitions = load_texts(&files, schemas.schemas(), TimeZone::UTC).expect("the definitions are right");
        let catalog = Arc::new(definitions.catalog);
        let json = JsonDecoder::new(&schemas, &catalog);
        let decoder = |record: &segue::wire::schema::RecordSchema| {
            let id = catalog.event_type_ids.get(&record.name).copied();
            let projection =
                id.and_then(|id| catalog.event_types.get(id.index())).map(|known| known.projection.clone());
            let projection: Projection = projection.unwrap_or_default();
            Decoder::new(&record.avro, record, id.unwrap_or(EventTypeId(0)), &projection).expect("its own schema")
        };
        let avro = schemas.records().map(decoder).collect();
        let record = Record { envelope: Envelope::default(), body: Body::Erasure };
        Self { schemas, catalog, json, avro, record }
    }

    /// An expression: read, or refused with a reason that lies within it; what is read can be written and read again.
    pub(crate) fn expression(bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        match parser::parse(text) {
            Ok(expression) => {
                let written = expression.to_string();
                let again = parser::parse(&written).expect("what is written can be read");
                assert_eq!(again.to_string(), written);
            }
            Err(problems) => {
                assert!(!problems.is_empty());
                for problem in problems {
                    assert!(problem.span.start <= problem.span.end && problem.span.end <= text.len(), "{problem:?}");
                }
            }
        }
    }

    /// A definition file: loaded, or refused with complaints that can be shown; and rewritten in one style only once.
    pub(crate) fn definitions(&self, bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let files = [("a.yaml".to_owned(), text.to_owned())];
        if let Err(problems) = load_texts(&files, self.schemas.schemas(), TimeZone::UTC) {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(!problem.to_string().is_empty());
            }
        }
        if let Ok(formatted) = definition::format("a.yaml", text) {
            assert_eq!(definition::format("a.yaml", &formatted).as_deref(), Ok(&*formatted), "of {text:?}");
        }
    }

    /// An Avro record of the type that the first byte picks.
    pub(crate) fn avro(&mut self, bytes: &[u8]) {
        let Some((first, body)) = bytes.split_first() else { return };
        let n_types = self.avro.len();
        if let Some(decoder) = self.avro.get_mut(usize::from(*first) % n_types) {
            let _ = decoder.decode_into(body, &mut self.record);
        }
        let _ = frame(bytes);
    }

    /// An Avro object container file.
    pub(crate) fn container(&mut self, bytes: &[u8]) {
        let Ok(mut container) = Container::new(bytes) else { return };
        let Some(record) = self.schemas.reader_of(container.schema()) else { return };
        let decoder = Decoder::new(container.schema(), record, EventTypeId(0), &Projection::default());
        let Ok(mut decoder) = decoder else { return };
        while let Ok(next) = container.next_into(&mut decoder, &mut self.record) {
            if matches!(next, Next::End) {
                break;
            }
        }
    }

    /// A record as JSON.
    pub(crate) fn json(&mut self, bytes: &[u8]) {
        let _ = self.json.decode_into(bytes, &mut self.record);
    }

    /// A stored customer: what can be read is written as it was read.
    pub(crate) fn customer(bytes: &[u8]) {
        if let Ok(known) = customer::decode(bytes) {
            let written = customer::encode(&known);
            assert_eq!(customer::decode(&written).as_ref(), Ok(&known));
        }
    }
}
