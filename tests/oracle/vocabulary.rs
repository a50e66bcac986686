//! The small worlds that random cases play in: event types, words, numbers, zones and the days that matter in them.

use crate::record::{FieldType, Fields, Schemas, fields};

/// Texts that fields hold and filters ask for.
pub(crate) const WORDS: [&str; 4] = ["a", "b", "ab", "c"];
/// Numbers that fields hold and conditions ask for.
pub(crate) const NUMBERS: [&str; 8] = ["0", "1", "2", "3", "0.1", "2.5", "-1", "10"];
/// Shares of customers that conditions ask for.
pub(crate) const SHARES: [&str; 4] = ["25", "50", "60", "100"];
/// Purposes.
pub(crate) const PURPOSES: [&str; 2] = ["marketing", "ads"];

/// Durations, seconds: a case uses few of them, so that edges meet.
pub(crate) const DURATIONS_S: [i64; 11] =
    [1, 10, 60, 600, 3600, 7200, 86_400, 90_000, 7 * 86_400, 30 * 86_400, 365 * 86_400];

/// A zone and instants in it near which something happens to the calendar.
pub(crate) const ZONES: [(&str, &[&str]); 4] = [
    ("UTC", &["2026-01-01T00:00:00Z", "2024-02-28T22:00:00Z", "2026-03-02T00:00:00Z"]),
    (
        "Europe/Berlin",
        &["2026-03-28T22:30:00Z", "2026-10-24T21:00:00Z", "2025-12-31T22:00:00Z", "2027-02-28T12:00:00Z"],
    ),
    ("America/New_York", &["2026-03-08T05:00:00Z", "2026-11-01T03:00:00Z", "2026-12-31T05:00:00Z"]),
    ("Asia/Beirut", &["2022-03-26T21:00:00Z", "2022-10-29T20:30:00Z"]),
];

/// Event types with every type of field.
pub(crate) fn site_schemas() -> Schemas {
    let items = FieldType::ArrayOf(fields(&[
        ("sku", FieldType::Text),
        ("price", FieldType::Number),
        ("gift", FieldType::Bool),
        ("made", FieldType::Instant),
    ]));
    let place = FieldType::Record(fields(&[("city", FieldType::Text), ("floor", FieldType::Number)]));
    Schemas::from([
        (
            "visit".to_owned(),
            fields(&[
                ("page", FieldType::Text),
                ("score", FieldType::Number),
                ("vip", FieldType::Bool),
                ("seen", FieldType::Instant),
                ("tags", FieldType::ListOf(Box::new(FieldType::Text))),
                ("place", place),
            ]),
        ),
        ("order".to_owned(), fields(&[("page", FieldType::Text), ("total", FieldType::Number), ("items", items)])),
        ("ping".to_owned(), fields(&[("page", FieldType::Text), ("score", FieldType::Number)])),
    ])
}

/// The shipped event types, cut down to the fields that random cases use.
pub(crate) fn shop_schemas() -> Schemas {
    let items = FieldType::ArrayOf(fields(&[
        ("category", FieldType::Text),
        ("quantity", FieldType::Number),
        ("price", FieldType::Number),
    ]));
    Schemas::from([
        ("click".to_owned(), fields(&[("page", FieldType::Text), ("category", FieldType::Text)])),
        (
            "purchase".to_owned(),
            fields(&[("cart_id", FieldType::Text), ("total", FieldType::Number), ("items", items)]),
        ),
        ("cart_abandonment".to_owned(), fields(&[("cart_id", FieldType::Text), ("cart_value", FieldType::Number)])),
    ])
}

/// A field that holds a value, and how to get there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) path: Vec<String>,
    /// The type of the value, or of an element of the list.
    pub(crate) of: FieldType,
    /// Whether the path gives a list.
    pub(crate) list: bool,
}

/// All leaves below some fields.
pub(crate) fn leaves(of: &Fields) -> Vec<Leaf> {
    let mut found = vec![];
    collect(of, &[], false, &mut found);
    found
}

/// The leaves of an event or element, with the envelope's.
pub(crate) fn leaves_with_envelope(of: &Fields) -> Vec<Leaf> {
    let mut found = leaves(of);
    let scalar = |name: &str, of| Leaf { path: vec![name.to_owned()], of, list: false };
    found.push(scalar("event_id", FieldType::Text));
    found.push(scalar("occurred_at", FieldType::Instant));
    found
}

fn collect(of: &Fields, prefix: &[String], list: bool, found: &mut Vec<Leaf>) {
    for (name, field) in of {
        let mut path = prefix.to_vec();
        path.push(name.clone());
        match field {
            FieldType::Record(inner) => collect(inner, &path, list, found),
            FieldType::ArrayOf(inner) => collect(inner, &path, true, found),
            FieldType::ListOf(item) => found.push(Leaf { path, of: (**item).clone(), list: true }),
            scalar => found.push(Leaf { path, of: scalar.clone(), list }),
        }
    }
}
