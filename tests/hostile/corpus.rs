//! Good inputs to begin from, and the words that matter in each kind.

use std::fs;
use std::path::{Path, PathBuf};

use segue::engine::record::Origin;
use segue::testing::{Options, Replay};
use segue::wire::customer::encode;

use super::doors::Doors;

pub(crate) const EXPRESSION_WORDS: &[&str] = &[
    " and ",
    " or ",
    "not ",
    "did(",
    "count(",
    "last(",
    "top(",
    " where ",
    " over 30d",
    " since last(click)",
    " this month",
    " then ",
    " without ",
    " within 1h",
    " after 1d without ",
    " on cart_id",
    " for 7d",
    "each purchase.items",
    "now",
    "trait.",
    " between 1 and 2",
    " in (1, 2)",
    " is not known",
    " starts with ",
    "segment(\"a\")",
    "2026-01-01",
    "2026-01-01T00:00:00Z",
    "1h30m",
    "\"é\"",
    "`over`",
    "# x\n",
    "é",
    "\u{0}",
    "(",
    ")",
    "1.5",
    "-",
    "*",
    "99999999999999999999999999999",
];

pub(crate) const DEFINITION_WORDS: &[&str] = &[
    "\n",
    "\n  ",
    "- ",
    ": ",
    "name: a\n",
    "when: ",
    "until: ",
    "tiers: ",
    "tests:\n",
    "segments:\n",
    "groups: []\n",
    "&a ",
    "*a",
    "!!str ",
    "|\n",
    ">-\n",
    "'",
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    "#",
    "? ",
    "---\n",
    "\t",
    "\r\n",
    "\u{feff}",
    "é",
    "<<: *a",
];

pub(crate) const JSON_WORDS: &[&str] = &[
    "null",
    "true",
    "-1",
    "1e400",
    "1.5",
    "\"\"",
    "{}",
    "[]",
    ",",
    ":",
    "\\u0000",
    "\"type\":",
    "\"items\":[{}],",
    "\"traits\":{",
    "\"2026-01-01\"",
    "é",
];

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

/// Files of definitions, wrong ones among them; small, so that a mutation finds something.
pub(crate) fn definitions() -> Vec<Vec<u8>> {
    let folders = ["tests/scenarios", "tests/definitions/good", "tests/definitions/bad", "deploy/segments"];
    let mut texts: Vec<_> =
        folders.iter().flat_map(|folder| files(folder)).map(|path| fs::read(path).unwrap()).collect();
    texts.retain(|text| text.len() < 4_000);
    assert!(texts.len() > 100);
    texts
}

/// What stands behind `when`, `until` and `value` in them.
pub(crate) fn expressions() -> Vec<Vec<u8>> {
    let mut expressions = Vec::new();
    for text in definitions() {
        for line in String::from_utf8_lossy(&text).lines() {
            let value = ["when: ", "until: ", "value: "].iter().find_map(|key| Some(line.split_once(key)?.1));
            expressions.extend(value.map(|value| value.trim_end_matches('}').trim_matches('\'').as_bytes().to_vec()));
        }
    }
    assert!(expressions.len() > 200);
    expressions
}

/// Records in the order of their names (`cart_abandonment`, `click`, `consent`, `erasure`, `profile`, `purchase`), number in front.
pub(crate) fn avro() -> Vec<Vec<u8>> {
    let text = |text: &str| [&[u8::try_from(text.len() * 2).unwrap()], text.as_bytes()].concat();
    let envelope = [text("id"), text("who"), vec![0x80, 0xa0, 0xdc, 0xf0, 0xee, 0x66]].concat();
    let item = [text("shoe"), [vec![2], text("running")].concat(), vec![0], vec![4], vec![4, 0x30, 0x39]].concat();
    let items = [vec![4], item.clone(), item, vec![0]].concat();
    let record = |number: u8, fields: &[Vec<u8>]| [vec![number], envelope.clone(), fields.concat()].concat();
    vec![
        record(0, &[text("cart"), vec![4, 0x30, 0x39], text("EUR"), items.clone(), vec![0; 4]]),
        record(1, &[vec![2], text("x"), vec![0; 14]]),
        record(2, &[text("marketing"), vec![1], vec![0]]),
        record(3, &[vec![2], text("asked")]),
        record(
            4,
            &[vec![4], text("born"), vec![8], text("1990-01-01"), text("tags"), vec![10, 2], text("a"), vec![0, 0]],
        ),
        record(5, &[text("order"), vec![0], vec![4, 0x30, 0x39], text("EUR"), items, vec![0; 7]]),
    ]
}

/// A container file of two clicks, without compression.
pub(crate) fn containers() -> Vec<Vec<u8>> {
    let text = |text: &str| {
        let mut bytes = Vec::new();
        let mut length = text.len() * 2;
        while length >= 128 {
            bytes.push(u8::try_from(length % 128).unwrap() | 128);
            length /= 128;
        }
        bytes.push(u8::try_from(length).unwrap());
        bytes.extend(text.as_bytes());
        bytes
    };
    let schema = r#"{"type":"record","name":"click","fields":[{"name":"event_id","type":"string"},
        {"name":"customer_id","type":"string"},{"name":"occurred_at","type":"long"},{"name":"page","type":"string"}]}"#;
    let click = [text("e"), text("c"), vec![2], text("x")].concat();
    let block = [click.clone(), click].concat();
    let (marker, size) = (vec![7; 16], vec![u8::try_from(block.len() * 2).unwrap()]);
    let header =
        [b"Obj\x01".to_vec(), vec![4], text("avro.schema"), text(schema), text("avro.codec"), text("null"), vec![0]];
    vec![[header.concat(), marker.clone(), vec![4], size, block, marker].concat()]
}

pub(crate) fn json() -> Vec<Vec<u8>> {
    let envelope = r#""event_id":"e","customer_id":"c","occurred_at":"2026-01-01T10:00:00Z""#;
    let bodies = [
        r#""type":"click","page":"x","utm_source":null"#,
        r#""type":"purchase","total":"19.90","items":[{"category":"shoes","price":1.5,"quantity":2},{}]"#,
        r#""type":"cart_abandonment","cart_value":80,"items":[]"#,
        r#""type":"profile","traits":{"born":"1990-01-01","tags":["a","b"],"n":1,"x":null}"#,
        r#""type":"consent","purpose":"marketing","granted":true"#,
        r#""type":"erasure","reason":"asked""#,
    ];
    bodies.iter().map(|body| format!("{{{envelope},{body}}}").into_bytes()).collect()
}

/// Customers to whom all of that happened.
pub(crate) fn customers(doors: &Doors) -> Vec<Vec<u8>> {
    let mut replay = Replay::new(doors.catalog.clone(), &doors.schemas, Options::default());
    let mut customers = Vec::new();
    let records = json();
    for round in 0..20 {
        // The last one is an erasure.
        for (number, record) in records.iter().take(5).enumerate() {
            let id = format!("\"event_id\":\"e{round}.{number}\"");
            let line = String::from_utf8_lossy(record).replace("\"event_id\":\"e\"", &id);
            let line = line.replace("T10:00", &format!("T10:{round:02}"));
            replay.offer_json(line.as_bytes(), &Origin::default()).unwrap();
        }
        customers.push(encode(&replay.customer("c").unwrap().unwrap()));
    }
    customers
}
