//! Random histories: ties, late and repeated records, clusters at the edges of windows, long silences.

use serde_json::{Map, Value as Json, json};

use crate::generate::Generated;
use crate::print::rfc3339;
use crate::random::Random;
use crate::record::{FieldType, Fields, Schemas};
use crate::vocabulary::{NUMBERS, PURPOSES, WORDS};

const DAY_MS: i64 = 86_400_000;

struct Writer<'a> {
    random: &'a mut Random,
    schemas: &'a Schemas,
    durations_ms: &'a [i64],
    /// The instants so far.
    instants: Vec<i64>,
    base_ms: i64,
}

/// Random lines, and an instant after them all.
pub(crate) fn history(random: &mut Random, schemas: &Schemas, generated: &Generated, base_ms: i64) -> (Vec<Json>, i64) {
    let most = if random.percent(10) { 40 } else { 16 };
    let count = random.between(3, most);
    let customers = random.between(1, 3);
    let mut writer = Writer { random, schemas, durations_ms: &generated.durations_ms, instants: vec![], base_ms };
    let mut lines: Vec<Json> = vec![];
    for index in 0..count {
        let line = writer.line(index, customers);
        let again = !lines.is_empty() && writer.random.percent(6);
        let line = if again { writer.repeated(&lines, line) } else { line };
        lines.push(line);
    }
    let last = writer.instants.iter().copied().max().unwrap_or(base_ms);
    let ahead = match writer.random.below(4) {
        0 => writer.duration_ms(),
        1 => DAY_MS,
        2 => 40 * DAY_MS,
        _ => 500 * DAY_MS,
    };
    (lines, last + ahead)
}

impl Writer<'_> {
    fn duration_ms(&mut self) -> i64 {
        *self.random.pick(self.durations_ms)
    }

    /// Mostly forward, mostly at the edge of something.
    fn instant(&mut self) -> i64 {
        let latest = self.instants.iter().copied().max().unwrap_or(self.base_ms);
        if self.instants.is_empty() {
            return latest;
        }
        let wobble = *self.random.pick(&[-1, 0, 0, 0, 1]);
        let at = match self.random.below(12) {
            0 | 1 => latest,
            2..=4 => {
                let earlier = *self.random.pick(&self.instants.clone());
                earlier + self.duration_ms() + wobble
            }
            5 => latest + self.duration_ms() + wobble,
            6 => latest + self.duration_ms() / 2,
            7 => latest + 1000 * i64::try_from(self.random.below(5000)).expect("small"),
            8 => {
                (latest / DAY_MS + 1) * DAY_MS
                    + 3_600_000 * (i64::try_from(self.random.below(9)).expect("small") - 4)
                    + wobble
            }
            9 => latest + DAY_MS * i64::try_from(self.random.below(40)).expect("small"),
            10 => latest + 1,
            _ => latest - *self.random.pick(&[1, 1000, 60_000, 3_600_000, DAY_MS - 1, DAY_MS, DAY_MS + 1]),
        };
        // A week behind is behind enough.
        at.max(latest - 7 * DAY_MS)
    }

    fn line(&mut self, index: usize, customers: usize) -> Json {
        let at = self.instant();
        self.instants.push(at);
        let mut line = match self.random.below(100) {
            0..=9 => json!({"type": "profile", "traits": self.traits()}),
            10..=17 => {
                let granted = self.random.percent(65);
                json!({"type": "consent", "purpose": self.random.pick(&PURPOSES), "granted": granted})
            }
            18..=20 => json!({"type": "erasure"}),
            _ => self.event(),
        };
        let object = line.as_object_mut().expect("an object");
        object.insert("event_id".to_owned(), json!(format!("e{index}")));
        object.insert("customer_id".to_owned(), json!(format!("c{}", self.random.below(customers))));
        object.insert("occurred_at".to_owned(), json!(rfc3339(at)));
        line
    }

    /// The id of an earlier record, with this one's content or with its own.
    fn repeated(&mut self, lines: &[Json], mut line: Json) -> Json {
        let earlier = self.random.pick(lines).clone();
        if self.random.percent(50) {
            return earlier;
        }
        line["event_id"] = earlier["event_id"].clone();
        line
    }

    fn event(&mut self) -> Json {
        let all: Vec<_> = self.schemas.iter().collect();
        let (event_type, fields) = *self.random.pick(&all);
        let mut line = Json::Object(self.record(fields));
        line["type"] = json!(event_type);
        line
    }

    fn record(&mut self, fields: &Fields) -> Map<String, Json> {
        let mut object = Map::new();
        for (name, of) in fields {
            if self.random.percent(75) {
                let value = self.value(of);
                object.insert(name.clone(), value);
            } else if self.random.percent(20) {
                object.insert(name.clone(), Json::Null);
            }
        }
        object
    }

    fn value(&mut self, of: &FieldType) -> Json {
        let length = self.random.below(4);
        if self.random.percent(1) {
            // Of a wrong type, whatever is expected: the record is undecodable.
            return json!({"wrong": [true]});
        }
        match of {
            FieldType::Bool => json!(self.random.percent(50)),
            FieldType::Number => self.number(),
            FieldType::Text => json!(self.random.pick(&WORDS)),
            FieldType::Instant => {
                let near = self.instants.last().copied().unwrap_or(self.base_ms);
                let at = near - self.duration_ms();
                if self.random.percent(50) { json!(at) } else { json!(rfc3339(at)) }
            }
            FieldType::ListOf(item) => Json::Array((0..length).map(|_| self.value(item)).collect()),
            FieldType::ArrayOf(elements) => {
                Json::Array((0..length).map(|_| Json::Object(self.record(elements))).collect())
            }
            FieldType::Record(fields) => Json::Object(self.record(fields)),
        }
    }

    fn number(&mut self) -> Json {
        serde_json::from_str(self.random.word(&NUMBERS)).expect("a number")
    }

    fn traits(&mut self) -> Json {
        let mut traits = Map::new();
        for name in ["birth", "member", "level", "town", "likes"] {
            if !self.random.percent(60) {
                continue;
            }
            let value = match (self.random.below(10), name) {
                (0, _) => Json::Null,
                (1, _) => json!("misfit"),
                (_, "birth") => self.birth(),
                (_, "member") => json!(self.random.percent(50)),
                (_, "level") => self.number(),
                (_, "town") => json!(self.random.pick(&WORDS)),
                _ => json!([self.random.pick(&WORDS), self.random.pick(&WORDS)]),
            };
            traits.insert(name.to_owned(), value);
        }
        Json::Object(traits)
    }

    fn birth(&mut self) -> Json {
        match self.random.below(4) {
            0 => json!("2000-02-29"),
            1 => {
                let at = self.instants.last().copied().unwrap_or(self.base_ms);
                json!(rfc3339(at - 365 * DAY_MS))
            }
            2 => json!(rfc3339(self.base_ms - 730 * DAY_MS)),
            _ => json!(rfc3339(self.base_ms)[..10]),
        }
    }
}
