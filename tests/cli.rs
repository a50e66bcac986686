//! The command line as people and scripts meet it: the real binary, what it prints where, and how it ends.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot start the binary has failed")]

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// How a command ended, and what it printed.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    #[track_caller]
    fn expect(self, code: i32, stdout_has: &[&str], stderr_has: &[&str]) -> Self {
        let whole = format!("code {:?}\nstdout:\n{}\nstderr:\n{}", self.code, self.stdout, self.stderr);
        assert_eq!(self.code, Some(code), "{whole}");
        for part in stdout_has {
            assert!(self.stdout.contains(part), "no `{part}` on standard output; {whole}");
        }
        for part in stderr_has {
            assert!(self.stderr.contains(part), "no `{part}` on standard error; {whole}");
        }
        self
    }

    fn changes(&self) -> Vec<String> {
        let lines = self.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("a JSON line"));
        let text = |change: &Value, field: &str| change[field].as_str().unwrap().to_owned();
        let told = |change: Value| {
            let fields = ["at", "customer_id", "change", "segment"];
            fields.map(|field| text(&change, field)).join(" ")
        };
        lines.map(told).collect()
    }
}

/// The one door: the binary with these arguments and this on its standard input.
fn run(args: &[&str], stdin: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segue"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    // It may have ended before it has read all.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().expect("the binary ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A directory of files, gone with the test.
struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        Self(directory)
    }

    fn path(&self, name: &str) -> String {
        PathBuf::from(self.0.path()).join(name).to_str().unwrap().to_owned()
    }
}

const ABANDONER: &str = "\
segments:
  - {name: abandoner, when: did(cart_abandonment without purchase on cart_id within 1h over 1d)}
  - {name: buyer, when: did(purchase over 1d)}
  - {name: keen, when: count(purchase over 1d) >= 2}
";

const EVENTS: &str = r#"
{"type":"cart_abandonment","event_id":"e1","customer_id":"c1","occurred_at":"2026-01-01T10:00:00Z","cart_id":"a"}
{"type":"purchase","event_id":"e2","customer_id":"c2","occurred_at":1767265200000,"total":"19.90"}
"#;

#[test]
fn help_and_usage() {
    run(&["--help"], "").expect(0, &["Usage: segue", "Exit codes"], &[]);
    run(&[], "").expect(2, &[], &["Usage: segue"]);
    run(&["chek"], "").expect(2, &[], &["check"]);
    run(&["replay", "--until", "x"], "").expect(2, &[], &["--definitions"]);
    for command in ["run", "check", "fmt", "test", "replay", "explain", "demo", "bench"] {
        run(&[command, "--help"], "").expect(0, &["Example", &format!("segue {command}")], &[]);
    }
    let below = [
        ("topics", ["create"].as_slice()),
        ("state", &["show", "verify", "repair", "wipe", "reset"]),
        ("dead-letters", &["list", "resend"]),
    ];
    for (command, actions) in below {
        run(&[command, "--help"], "").expect(0, &["Example", &format!("segue {command} ")], &[]);
        for action in actions {
            run(&[command, action, "--help"], "").expect(0, &["Example", &format!("segue {command} {action} ")], &[]);
        }
    }
}

#[test]
fn check_tells_each_segment_or_each_error() {
    let files = Files::new(&[("a.yaml", ABANDONER)]);
    let good = run(&["check", &files.path("")], "").expect(0, &["buyer cost", "(shared with keen)"], &[]);
    assert_eq!(good.stdout.lines().count(), 3, "{}", good.stdout);
    let json = run(&["check", &files.path(""), "--json"], "").expect(0, &["\"shared_with\":[\"keen\"]"], &[]);
    assert!(json.stdout.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));

    let bad = "segments:\n  - {name: a, when: did(clik)}\n  - {name: b, when: did(purchase over 1x)}\n";
    let files = Files::new(&[("bad.yaml", bad)]);
    let told =
        run(&["check", &files.path("")], "").expect(1, &[], &["bad.yaml:2:", "`click`", "bad.yaml:3:", "2 errors"]);
    assert_eq!(told.stdout, "");
    let json = run(&["check", &files.path(""), "--json"], "").expect(1, &[], &["\"line\":3"]);
    assert_eq!(json.stderr.lines().count(), 2, "{}", json.stderr);
    run(&["check", &files.path("nowhere")], "").expect(1, &[], &["nowhere"]);
    run(&["check", &files.path(""), "--timezone", "Mars/Olympus"], "").expect(2, &[], &["Mars/Olympus"]);
}

#[test]
fn replay_prints_changes_and_nothing_else() {
    let files = Files::new(&[("a.yaml", ABANDONER), ("events.jsonl", EVENTS)]);
    let (definitions, events) = (files.path(""), files.path("events.jsonl"));
    let expected = [
        "2026-01-01T11:00:00.000Z c2 entered buyer",
        "2026-01-01T11:00:00.000Z c1 entered abandoner",
        "2026-01-02T11:00:00.000Z c1 left abandoner",
        "2026-01-02T11:00:00.000Z c2 left buyer",
    ];
    let args = ["replay", "--definitions", &definitions, "--events", &events, "--until", "2026-01-02T11:00:00Z"];
    let replayed = run(&args, "").expect(0, &[], &[]);
    assert_eq!(replayed.changes(), expected);
    assert_eq!(replayed.stderr, "");

    let args = ["replay", "--definitions", &definitions, "--events", "-", "--until", "1767351600000"];
    assert_eq!(run(&args, EVENTS).expect(0, &[], &[]).changes(), expected, "from standard input");
    let args =
        ["replay", "--definitions", &definitions, "--events", "-", "--until", "2026-01-02", "--timezone", "Asia/Tokyo"];
    assert_eq!(run(&args, EVENTS).expect(0, &[], &[]).changes(), expected[..2], "midnight in Tokyo is earlier");
    let args = ["replay", "--definitions", &definitions, "--events", &events, "-", "--grace", "2h"];
    let more =
        r#"{"type":"purchase","event_id":"e3","customer_id":"c2","occurred_at":"2026-01-01T12:00:00Z","total":1}"#;
    let late = ["2026-01-01T11:00:00.000Z c2 entered buyer", "2026-01-01T12:00:00.000Z c2 entered keen"];
    assert_eq!(run(&args, more).expect(0, &[], &[]).changes(), late, "one file after the other, the clock behind");
}

#[test]
fn replay_goes_on_after_bad_lines() {
    let files = Files::new(&[("a.yaml", ABANDONER)]);
    let events = format!("nonsense\n{EVENTS}\n{{\"type\":\"purchase\",\"event_id\":\"e9\"}}\n{{\"type\":\"visit\"}}\n");
    let args = ["replay", "--definitions", &files.path(""), "--events", "-"];
    let told = ["line 1: not a JSON object", "line 6: ", "line 7: there is no record type `visit`"];
    let replayed = run(&args, &events).expect(3, &[], &told);
    assert_eq!(replayed.changes().len(), 1, "the good ones count: {}", replayed.stdout);
    let args = ["replay", "--definitions", &files.path(""), "--events", &files.path("none.jsonl")];
    run(&args, "").expect(2, &[], &["none.jsonl"]);
}

/// What section 7 of the specification says of input, word by word.
#[test]
fn replay_takes_events_in_every_form() {
    let files = Files::new(&[("a.yaml", ABANDONER)]);
    let line = |more: &str| format!(r#"{{"type":"purchase","event_id":"e","customer_id":"c",{more}}}"#);
    let at = "2026-01-01T10:00:00.000Z c entered buyer";
    let good = [
        line(r#""occurred_at":"2026-01-01T10:00:00Z""#),
        line(r#""occurred_at":"2026-01-01t12:00:00.000999+02:00""#),
        line(r#""occurred_at":1767261600000"#),
        line(r#""occurred_at":1.7672616e12,"total":null,"items":[],"unheard_of":{"a":[1]}"#),
        line(r#""occurred_at":1767261600000.9,"total":79228162514264337593543950335"#),
        line(r#""occurred_at":1767261600000,"total":0.1234567890123456789012345678"#),
        format!("\u{feff}{}", line(r#""occurred_at":1767261600000"#)),
        format!("\r\n  \t{}\r\n\r\n \n", line(r#""occurred_at":1767261600000"#)),
    ];
    for text in good {
        let ended = run(&["replay", "--definitions", &files.path(""), "--events", "-"], &text).expect(0, &[], &[]);
        assert_eq!((ended.changes(), ended.stderr.as_str()), (vec![at.to_owned()], ""), "{text}");
    }
    let bad = [
        (line(r#""occurred_at":"2026-01-01T10:00:00""#), "occurred_at"),
        (line(r#""occurred_at":true"#), "`occurred_at` must be an instant"),
        (line(r#""occurred_at":0,"total":true"#), "`total` must be a number"),
        (line(r#""occurred_at":0,"total":1e400"#), "`total` is outside the supported range"),
        (line(r#""occurred_at":0,"items":{}"#), "`items` must be a list"),
        (line(r#""occurred_at":0,"items":[{"price":"x"}]"#), "`items.price` must be a number"),
        (
            r#"{"type":"consent","event_id":"e","customer_id":"c","occurred_at":0,"purpose":"p"}"#.into(),
            "`granted` is missing",
        ),
        (r#"{"type":"profile","event_id":"e","customer_id":"c","occurred_at":0}"#.into(), "`traits` is missing"),
        (r#"{"type":"click","customer_id":"c","occurred_at":0}"#.into(), "event_id is missing"),
        (r#"{"event_id":"e","customer_id":"c","occurred_at":0}"#.into(), "the field `type` is missing"),
        (format!("{} x", line(r#""occurred_at":0"#)), "not a JSON object"),
        ("[".repeat(100_000), "not a JSON object"),
        ("\u{0}".to_owned(), "not a JSON object"),
    ];
    for (text, told) in bad {
        let told = format!("standard input: line 2: {told}");
        let text = format!("\n{text}\n");
        let ended = run(&["replay", "--definitions", &files.path(""), "--events", "-"], &text);
        ended.expect(3, &[], &[&told]);
    }
}

#[test]
fn what_is_named_wrongly_ends_a_command_before_it_prints() {
    let files = Files::new(&[("a.yaml", ABANDONER), ("events.jsonl", EVENTS), ("events.avro", "nonsense")]);
    let (definitions, events) = (files.path("a.yaml"), files.path("events.jsonl"));
    let with =
        |more: &[&str]| run(&[&["replay", "--definitions", &definitions, "--events", &events], more].concat(), "");
    with(&[]).expect(0, &["buyer"], &[]);
    for until in ["-1", "9999-12-31", "9999-12-31T23:59:59Z", "2026-01-03T00:00:00.5+02:00", "1767261600000"] {
        with(&["--until", until]).expect(0, &["buyer"], &[]);
    }
    for (until, code) in [("soon", 2), ("2026-13-01", 2), ("99999999999999999999", 2)] {
        with(&["--until", until]).expect(code, &[], &[until]);
    }
    with(&["--grace", "5"]).expect(2, &[], &["100ms"]);
    with(&["--schemas", &files.path("none")]).expect(1, &[], &["none"]);
    let directory = files.path("");
    let told = run(&["replay", "--definitions", &definitions, "--events", &directory], "");
    told.expect(2, &[], &["it is a directory, not a file of events"]);
    let container = files.path("events.avro");
    let told = run(&["replay", "--definitions", &definitions, "--events", &container], "");
    told.expect(1, &[], &["events.avro", "not an Avro object container file"]);
}

#[test]
fn a_site_has_types_of_its_own() {
    let schema = r#"{"type":"record","name":"store_visit","namespace":"site","fields":[
        {"name":"event_id","type":"string"},{"name":"customer_id","type":"string"},
        {"name":"occurred_at","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"store","type":"string"}]}"#;
    let files = Files::new(&[
        ("a.yaml", "segments: [{name: visitor, when: 'did(store_visit where store = \"x\" over 1h)'}]"),
        ("store_visit.avsc", schema),
    ]);
    let event = r#"{"type":"store_visit","event_id":"e","customer_id":"c","occurred_at":0,"store":"x"}"#;
    let directory = files.path("");
    let args = ["replay", "--definitions", &directory, "--events", "-", "--schemas", &directory, "--until", "3600000"];
    let expected = ["1970-01-01T00:00:00.000Z c entered visitor", "1970-01-01T01:00:00.000Z c left visitor"];
    assert_eq!(run(&args, event).expect(0, &[], &[]).changes(), expected);
    run(&args[..5], event).expect(1, &[], &["`store_visit`"]);
}

#[test]
fn definitions_are_rewritten_in_one_style() {
    let untidy = "segments:\n- {  name: a,when: DID( click )   }   # why\n";
    let tidy = "segments:\n  - {name: a, when: did(click)} # why\n";
    let files = Files::new(&[("a.yaml", untidy), ("b.yml", tidy)]);
    let directory = files.path("");
    let read = || fs::read_to_string(files.path("a.yaml")).unwrap();
    let told = run(&["fmt", &directory, "--check"], "").expect(1, &["a.yaml"], &[]);
    assert_eq!((told.stdout.lines().count(), read().as_str()), (1, untidy));
    run(&["fmt", &directory], "").expect(0, &["a.yaml"], &[]);
    assert_eq!(read(), tidy);
    let told = run(&["fmt", &directory, "--check"], "").expect(0, &[], &[]);
    assert_eq!(told.stdout, "");
    fs::write(files.path("a.yaml"), "segments:\n- {name: a, when: did(click}\n").unwrap();
    run(&["fmt", &directory], "").expect(1, &[], &["a.yaml:2:"]);
    assert!(read().starts_with("segments:\n- {"), "{}", read());
    run(&["check", "--schema"], "").expect(0, &["https://json-schema.org/draft/2020-12/schema"], &[]);
    run(&["check"], "").expect(2, &[], &["<DIR>"]);
}

#[test]
fn tests_of_a_set_are_run() {
    let case = |total: u32| {
        format!(
            "{ABANDONER}
tests:
  - name: buying makes a buyer
    events: [{{at: 2026-01-01T10:00:00Z, type: purchase, total: 5}}]
    expect: [{{at: 2026-01-01T10:00:00Z, in: [buyer], out: [keen]}}]
  - name: two make keen
    events: [{{at: 2026-01-01T10:00:00Z, type: purchase, total: 5}}, {{at: 2026-01-0{total}T10:00:00Z, type: purchase}}]
    expect: [{{at: 2026-01-0{total}T10:00:00Z, in: [keen]}}]
"
        )
    };
    let files = Files::new(&[("a.yaml", &case(1))]);
    run(&["test", &files.path("")], "").expect(0, &["ok     two make keen"], &["2 tests, 0 failed"]);
    let files = Files::new(&[("a.yaml", &case(3))]);
    let told = ["ok     buying makes a buyer", "FAILED two make keen", "should be in `keen` but is out"];
    run(&["test", &files.path("")], "").expect(1, &told, &["2 tests, 1 failed"]);
}

#[test]
fn explain_tells_every_condition() {
    let files = Files::new(&[("a.yaml", ABANDONER), ("events.jsonl", EVENTS)]);
    let (definitions, events) = (files.path(""), files.path("events.jsonl"));
    let base = ["explain", "--definitions", &definitions, "--events", &events, "--customer", "c1"];
    let with = |more: &[&str]| run(&[&base, more].concat(), "");
    let told =
        ["abandoner: in since 2026-01-01T11:00:00.000Z; leaves by itself at 2026-01-02T11:00:00.000Z", "buyer: out"];
    with(&[]).expect(0, &told, &[]);
    let early = ["abandoner: out; enters by itself at 2026-01-01T11:00:00.000Z"];
    with(&["--at", "2026-01-01T10:30:00Z", "--segment", "abandoner"]).expect(0, &early, &[]);
    let json = with(&["--segment", "abandoner", "--json"]).expect(0, &[], &[]);
    let line: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&line["member"], &line["when"]["holds"]), (&Value::Bool(true), &Value::Bool(true)), "{line}");
    with(&["--segment", "abandonner"]).expect(2, &[], &["did you mean `abandoner`?"]);
    let args = ["explain", "--definitions", &definitions, "--events", &events, "--customer", "nobody"];
    run(&args, "").expect(1, &[], &["nobody"]);
}

#[test]
fn explain_tells_what_is_missing() {
    let keen = "segments:\n  - {name: keen, when: count(purchase over 1d) >= 3 or sum(purchase.total over 1d) >= 50.00}\n  \
                - {name: away, when: now - last(purchase) > 7d and not did(click)}\n  - {name: known, when: did(click) and \
                last(click.city) = \"Bonn\"}\n";
    let event =
        r#"{"type":"purchase","event_id":"e","customer_id":"c1","occurred_at":"2026-01-01T10:00:00Z","total":35.5}"#;
    let files = Files::new(&[("a.yaml", keen), ("events.jsonl", event)]);
    let args =
        ["explain", "--definitions", &files.path(""), "--events", &files.path("events.jsonl"), "--customer", "c1"];
    let left = "before 2026-01-02T10:00:00.000Z";
    let keen = format!("missing: 2 more purchases {left}, or 14.5 more of purchase.total {left}");
    let away = "missing: waiting until 2026-01-08T10:00:00.001Z";
    run(&args, "").expect(0, &[&keen, away, "missing: 1 click and that `last(click.city) = \"Bonn\"`"], &[]);
}

#[test]
fn bench_tells_what_a_set_costs() {
    let files = Files::new(&[("a.yaml", ABANDONER), ("events.jsonl", EVENTS)]);
    let (definitions, events) = (files.path(""), files.path("events.jsonl"));
    let args = ["bench", "--definitions", &definitions, "--events", &events];
    run(&args, "").expect(0, &["2 events of 2 customers", "dearest", "keen", "cores", "changelog"], &[]);
    let json = run(&[&args[..], &["--rate", "7", "--json"]].concat(), "").expect(0, &[], &[]);
    let told: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&told["sample"]["events"], &told["volumes"]["events_per_second"]), (&2.into(), &7.into()), "{told}");
    assert_eq!(told["dearest_definitions"].as_array().unwrap().len(), 3, "{told}");
    run(&["bench", "--definitions", &definitions, "--events", "-"], "").expect(1, &[], &["no event"]);
    run(&["bench", "--definitions", &definitions, "--events", "-"], "{}\n").expect(1, &[], &["line 1"]);
}

#[test]
fn a_wrong_configuration_is_told_whole() {
    let files = Files::new(&[("segue.yaml", "kafka: {broker: x}\ntime: {grace: soon}\n")]);
    let told = ["segue.yaml:1:9: unknown key `kafka.broker`", "segue.yaml:2:8: time.grace"];
    run(&["run", "--config", &files.path("segue.yaml")], "").expect(2, &[], &told);
    let properties = "{acs: all, linger.ms: soon, isolation.level: read_uncommitted, group.protocol: new}";
    let files = Files::new(&[("segue.yaml", &format!("kafka: {{brokers: b:1, properties: {properties}}}\n"))]);
    let told = [
        "segue.yaml:1:23: kafka.properties: ",
        "No such configuration property: \"acs\"",
        "linger.ms: Invalid value",
        "isolation.level cannot be set: exactly-once needs read_committed",
        "group.protocol is `classic` or `consumer`, not `new`",
    ];
    run(&["run", "--config", &files.path("segue.yaml"), "--print-config"], "").expect(2, &[], &told);
    let files = Files::new(&[("segue.yaml", "kafka: {brokers: b:1}\nhttp: {token: hush}\n")]);
    let printed = run(&["run", "--config", &files.path("segue.yaml"), "--print-config"], "");
    let printed = printed.expect(0, &["brokers: \"b:1\"", "token: \"***\""], &[]);
    assert!(!printed.stdout.contains("hush"));
}
