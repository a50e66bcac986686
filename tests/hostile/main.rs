//! Bytes nobody should send: whatever comes in by any door, nothing panics, and what is taken is taken whole.
//!
//! A bounded run over inputs mutated from good ones by a fixed seed. `SEGUE_HOSTILE_CASES=1000000` (and
//! `SEGUE_HOSTILE_SEED`) runs it for longer; `fuzz/` has the same doors for cargo-fuzz, which learns where to look.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what panics here is what the test found")]

mod corpus;
mod doors;

use std::env;

use doors::Doors;

/// Numbers that follow from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap()
    }
}

/// Bytes that break readers: ends of ranges, quotes, brackets, parts of characters, zeros.
const BYTES: &[u8] = b"\x00\x01\x02\x7f\x80\xff\xc3\xfe\"'`\\(){}[],:#&*!|>-.\n\t 09azAZ_";

fn mutated(corpus: &[Vec<u8>], words: &[&str], random: &mut Random) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(4) {
        let (at, length) = (random.below(bytes.len() + 1), random.below(12));
        let end = (at + length).min(bytes.len());
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = BYTES[random.below(BYTES.len())],
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].repeat(1 + random.below(20));
                bytes.splice(at..at, copy);
            }
            4 => drop(bytes.splice(at..at, words[random.below(words.len())].bytes())),
            5 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                bytes.splice(at.., other[from..].iter().copied());
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

fn setting(name: &str, default: usize) -> usize {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The one door to the doors: mutates and tries; who panics is told with the input.
fn hammer(default_cases: usize, corpus: &[Vec<u8>], words: &[&str], mut door: impl FnMut(&[u8])) {
    let mut random = Random(0x5e90e ^ setting("SEGUE_HOSTILE_SEED", 1) as u64);
    for bytes in corpus {
        door(bytes);
    }
    for _ in 0..setting("SEGUE_HOSTILE_CASES", default_cases) {
        let bytes = mutated(corpus, words, &mut random);
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| door(&bytes)));
        assert!(tried.is_ok(), "this input panics: {:?}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn expressions() {
    hammer(20_000, &corpus::expressions(), corpus::EXPRESSION_WORDS, Doors::expression);
}

#[test]
fn definitions() {
    let doors = Doors::open();
    hammer(1_500, &corpus::definitions(), corpus::DEFINITION_WORDS, |bytes| doors.definitions(bytes));
}

#[test]
fn avro() {
    let mut doors = Doors::open();
    hammer(50_000, &corpus::avro(), &["\0", "\u{1}", "\u{7f}"], |bytes| doors.avro(bytes));
}

#[test]
fn containers() {
    let mut doors = Doors::open();
    hammer(20_000, &corpus::containers(), &["\0", "avro.codec", "snappy"], |bytes| doors.container(bytes));
}

#[test]
fn json() {
    let mut doors = Doors::open();
    hammer(30_000, &corpus::json(), corpus::JSON_WORDS, |bytes| doors.json(bytes));
}

#[test]
fn stored_customers() {
    hammer(30_000, &corpus::customers(&Doors::open()), &["\0", "\u{1}"], Doors::customer);
}

/// What has broken readers of other products.
#[test]
fn known_bombs() {
    let mut doors = Doors::open();
    let deep = |open: &str, close: &str| format!("{}did(click){}", open.repeat(10_000), close.repeat(10_000));
    let expressions = [
        deep("(", ")"),
        deep("not ", ""),
        deep("-", ""),
        deep("did((", ") then click within 1h)"),
        deep("coalesce(", ")"),
        deep("age(", ")"),
        "did(click) or ".repeat(10_000) + "did(click)",
        "1 + ".repeat(10_000) + "1 > 2",
        format!("\"{}\" = \"\"", "a".repeat(1_000_000)),
        "`".repeat(10_000),
        "9".repeat(10_000),
        "\0".repeat(10),
        "9999999999999999999d > 1s".to_owned(),
        "2026-99-99T99:99:99Z > now".to_owned(),
    ];
    for expression in &expressions {
        Doors::expression(expression.as_bytes());
        doors.definitions(format!("segments:\n  - name: a\n    when: |\n      {expression}\n").as_bytes());
    }
    let alias = |letter: u8| (0..9).map(|_| format!("*{}", char::from(letter))).collect::<Vec<_>>().join(",");
    let laugh = |letter| format!("{0}: &{0} [{1}]", char::from(letter), alias(letter - 1));
    let laughs = (b'b'..=b'z').map(laugh).collect::<Vec<_>>().join("\n");
    let files = [
        format!("a: &a [x,x,x,x,x,x,x,x,x]\n{laughs}"),
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        "? ".repeat(10_000),
        "segments: &a [*a]\n".to_owned(),
        "segments: &a {<<: *a}\n".to_owned(),
        format!("segments: \"{}", "\\x".repeat(10_000)),
        format!("# {}\n", "x".repeat(1_000_000)),
        "---\n".repeat(10_000),
        "%YAML 9.9\n---\n".to_owned(),
        "\u{feff}\u{feff}segments: []".to_owned(),
        "segments:\n\t- name: a\n".to_owned(),
        "a\0b: c".to_owned(),
        "!!binary |\n  ====\n".to_owned(),
    ];
    for file in &files {
        doors.definitions(file.as_bytes());
    }
    let texts = [
        "[".repeat(100_000),
        "{\"type\":".repeat(100_000),
        format!(r#"{{"type":"click","occurred_at":{}}}"#, "9".repeat(100_000)),
        format!(r#"{{"type":"click","occurred_at":1e{}}}"#, "9".repeat(100)),
        r#"{"type":"click","page":"\ud800"}"#.to_owned(),
    ];
    for text in &texts {
        doors.json(text.as_bytes());
    }
}
