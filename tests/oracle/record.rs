//! Records as JSON lines, and the fields of events as trees that paths walk through.

use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::tz::TimeZone;
use serde_json::Value as Json;

use crate::calendar::parse_instant;
use crate::value::{Val, parse_number};

/// The type of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FieldType {
    Bool,
    Number,
    Text,
    Instant,
    ListOf(Box<FieldType>),
    Record(Fields),
    ArrayOf(Fields),
}

/// Named fields.
pub(crate) type Fields = Vec<(String, FieldType)>;

/// The event types and their fields, without the envelope.
pub(crate) type Schemas = BTreeMap<String, Fields>;

/// What an event holds, the envelope included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tree {
    Leaf(Val),
    Record(BTreeMap<String, Tree>),
    Array(Vec<Rc<Tree>>),
}

impl Tree {
    /// The value a path leads to; through an array it gives the list of what is known in its elements.
    pub(crate) fn value(&self, path: &[&str]) -> Val {
        match (self, path) {
            (Self::Leaf(value), []) => value.clone(),
            (Self::Leaf(_), _) | (Self::Record(_), []) => Val::Unknown,
            (Self::Record(fields), [name, rest @ ..]) => fields.get(*name).map_or(Val::Unknown, |at| at.value(rest)),
            (Self::Array(elements), _) => Val::List(
                elements
                    .iter()
                    .flat_map(|element| match element.value(path) {
                        Val::Unknown => vec![],
                        Val::List(values) => values,
                        value => vec![value],
                    })
                    .collect(),
            ),
        }
    }

    /// The elements of the array of records at a path.
    pub(crate) fn elements(&self, path: &[&str]) -> Vec<Rc<Tree>> {
        match (self, path) {
            (Self::Array(elements), []) => elements.clone(),
            (Self::Array(elements), _) => elements.iter().flat_map(|element| element.elements(path)).collect(),
            (Self::Record(fields), [name, rest @ ..]) => {
                fields.get(*name).map(|tree| tree.elements(rest)).unwrap_or_default()
            }
            _ => vec![],
        }
    }
}

/// What a record says.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    Event { event_type: String, tree: Rc<Tree> },
    Profile(BTreeMap<String, Json>),
    Consent { purpose: String, granted: bool },
    Erasure,
}

/// A record.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) event_id: String,
    pub(crate) customer_id: String,
    pub(crate) at: i64,
    pub(crate) body: Body,
}

/// Reads one line; `None` when it is not decodable.
pub(crate) fn decode(line: &Json, schemas: &Schemas, zone: &TimeZone) -> Option<Record> {
    let object = line.as_object()?;
    let event_id = object.get("event_id")?.as_str()?.to_owned();
    let customer_id = object.get("customer_id")?.as_str()?.to_owned();
    let Val::Instant(at) = leaf(&FieldType::Instant, object.get("occurred_at")?, zone)? else { return None };
    let body = match object.get("type")?.as_str()? {
        "profile" => {
            let traits = object.get("traits")?.as_object()?;
            Body::Profile(traits.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
        }
        "consent" => Body::Consent {
            purpose: object.get("purpose")?.as_str()?.to_owned(),
            granted: object.get("granted")?.as_bool()?,
        },
        "erasure" => Body::Erasure,
        event_type => {
            let mut fields = record(schemas.get(event_type)?, line, zone)?;
            fields.extend(envelope(&event_id, &customer_id, at));
            Body::Event { event_type: event_type.to_owned(), tree: Rc::new(Tree::Record(fields)) }
        }
    };
    Some(Record { event_id, customer_id, at, body })
}

/// The envelope as fields.
fn envelope(event_id: &str, customer_id: &str, at: i64) -> [(String, Tree); 3] {
    [
        ("event_id".to_owned(), Tree::Leaf(Val::Text(event_id.to_owned()))),
        ("customer_id".to_owned(), Tree::Leaf(Val::Text(customer_id.to_owned()))),
        ("occurred_at".to_owned(), Tree::Leaf(Val::Instant(at))),
    ]
}

/// An element as an event: its own fields, the record's envelope.
pub(crate) fn with_envelope_of(element: &Tree, event: &Tree) -> Tree {
    let (Tree::Record(own), Tree::Record(outer)) = (element, event) else { panic!("an element is a record") };
    let mut fields = own.clone();
    for name in ["event_id", "customer_id", "occurred_at"] {
        fields.insert(name.to_owned(), outer[name].clone());
    }
    Tree::Record(fields)
}

fn record(types: &Fields, json: &Json, zone: &TimeZone) -> Option<BTreeMap<String, Tree>> {
    let object = json.as_object()?;
    types
        .iter()
        .map(|(name, field_type)| {
            let tree = match object.get(name) {
                None | Some(Json::Null) => Tree::Leaf(Val::Unknown),
                Some(value) => tree(field_type, value, zone)?,
            };
            Some((name.clone(), tree))
        })
        .collect()
}

fn tree(field_type: &FieldType, json: &Json, zone: &TimeZone) -> Option<Tree> {
    Some(match field_type {
        FieldType::Record(types) => Tree::Record(record(types, json, zone)?),
        FieldType::ArrayOf(types) => {
            let elements =
                json.as_array()?.iter().map(|element| Some(Rc::new(Tree::Record(record(types, element, zone)?))));
            Tree::Array(elements.collect::<Option<_>>()?)
        }
        FieldType::ListOf(item) => {
            let known = json.as_array()?.iter().filter(|value| !value.is_null());
            Tree::Leaf(Val::List(known.map(|value| leaf(item, value, zone)).collect::<Option<_>>()?))
        }
        scalar => Tree::Leaf(leaf(scalar, json, zone)?),
    })
}

/// A scalar of an event.
fn leaf(field_type: &FieldType, json: &Json, zone: &TimeZone) -> Option<Val> {
    match (field_type, json) {
        (FieldType::Bool, Json::Bool(truth)) => Some(Val::Bool(*truth)),
        (FieldType::Text, Json::String(text)) => Some(Val::Text(text.clone())),
        (FieldType::Number, Json::Number(number)) => parse_number(&number.to_string()).map(Val::Num),
        (FieldType::Number, Json::String(text)) => parse_number(text).map(Val::Num),
        (FieldType::Instant, Json::Number(ms)) => ms.as_i64().map(Val::Instant),
        (FieldType::Instant, Json::String(text)) => parse_instant(text, zone).map(Val::Instant),
        _ => None,
    }
}

/// A value of a profile trait of a declared type; one that does not fit is unknown.
pub(crate) fn profile_value(declared: &FieldType, json: &Json, zone: &TimeZone) -> Val {
    let fits = match (declared, json) {
        (FieldType::Number, Json::Number(number)) => parse_number(&number.to_string()).map(Val::Num),
        (FieldType::Bool, Json::Bool(truth)) => Some(Val::Bool(*truth)),
        (FieldType::Text, Json::String(text)) => Some(Val::Text(text.clone())),
        (FieldType::Instant, Json::String(text)) => parse_instant(text, zone).map(Val::Instant),
        (FieldType::ListOf(_), Json::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(|text| Val::Text(text.to_owned())))
            .collect::<Option<Vec<_>>>()
            .map(Val::List),
        _ => None,
    };
    fits.unwrap_or(Val::Unknown)
}

/// `name: type` pairs.
pub(crate) fn fields(named: &[(&str, FieldType)]) -> Fields {
    named.iter().map(|(name, field_type)| ((*name).to_owned(), field_type.clone())).collect()
}

/// The shipped event types.
pub(crate) fn shipped_schemas() -> Schemas {
    let texts = |names: &str| -> Fields { names.split(' ').map(|name| (name.to_owned(), FieldType::Text)).collect() };
    let items = FieldType::ArrayOf(fields(&[
        ("product_id", FieldType::Text),
        ("category", FieldType::Text),
        ("brand", FieldType::Text),
        ("quantity", FieldType::Number),
        ("price", FieldType::Number),
    ]));
    let click = texts(
        "page product_id category brand search session_id device channel referrer utm_source utm_medium utm_campaign \
         country city language",
    );
    let mut purchase =
        texts("order_id cart_id currency device channel coupon store_id utm_source utm_campaign country");
    purchase.extend(fields(&[("total", FieldType::Number), ("items", items.clone())]));
    let mut abandonment = texts("cart_id currency step device channel country");
    abandonment.extend(fields(&[("cart_value", FieldType::Number), ("items", items)]));
    BTreeMap::from([
        ("click".to_owned(), click),
        ("purchase".to_owned(), purchase),
        ("cart_abandonment".to_owned(), abandonment),
    ])
}
