//! Configurations as written, and what becomes of them: the printed whole, or every problem.

use super::*;

fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::read("segue.yaml", text, environment, |name, _| match name {
        "acs" | "lingr.ms" => Err(format!("no `{name}`")),
        _ => Ok(()),
    })
}

#[track_caller]
fn check_problems(text: &str, environment: &[(&str, &str)], expected: &str) {
    let error = read(text, environment).expect_err("this configuration is wrong");
    assert_eq!(error.to_string(), expected.trim());
}

#[track_caller]
fn check_printed(text: &str, environment: &[(&str, &str)], expected_lines: &[&str]) {
    let config = read(text, environment).unwrap_or_else(|error| panic!("{error}"));
    let printed = config.print();
    for line in expected_lines {
        assert!(printed.lines().any(|printed_line| printed_line.trim() == *line), "no line `{line}` in\n{printed}");
    }
}

const BROKERS: &str = "kafka: {brokers: localhost:9092}\n";

#[test]
fn only_the_brokers_have_no_default() {
    let mut config = read(BROKERS, &[]).unwrap();
    assert_eq!(config.store.memory_bytes, StoreLimits::default().memory_bytes);
    // Both follow the machine.
    (config.application.workers, config.store.memory_bytes) = (2, 1 << 30);
    let expected = "\
application:
  id: segue
  definitions: deploy/segments
  data_dir: data
  workers: 2
  timezone: UTC
  hash_key: \"\"
kafka:
  brokers: \"localhost:9092\"
  properties: {}
commit:
  interval: 100ms
  max_events: 20000
schemas:
  directory: schemas
  registry: \"\"
topics:
  events:
    cart_abandonment: cart-abandonments
    click: clicks
    purchase: purchases
  profile: profiles
  consent: consents
  erasure: erasures
  changes: segment-changes
  memberships: segment-memberships
  dead_letters: segue-dead-letters
time:
  grace: 1s
  allowed_lateness: 1d
  max_ahead: 5m
memory:
  dedup_ids: 256
  dedup_window: 1d
  percentile_refresh: 1h
  retention: never
output:
  format: avro
http:
  listen: \"127.0.0.1:8080\"
  token: \"\"
  advertise: \"\"
store:
  memory: 1GiB
log:
  format: auto
  level: info
  otlp: \"\"
";
    assert_eq!(config.print(), expected);
    assert_eq!(read(&config.print(), &[]).unwrap().print(), expected, "what is printed can be read");
}

#[test]
fn the_environment_wins_and_reaches_into_maps() {
    let text = "kafka: {brokers: [a:1, 'b:2'], properties: {acks: all, linger.ms: 5}}\ntopics: {events: {click: c}}\n";
    let environment = [
        ("SEGUE_KAFKA__PROPERTIES__SECURITY_PROTOCOL", "SASL_SSL"),
        ("SEGUE_TOPICS__EVENTS__STORE_VISIT", "store-visits"),
        ("SEGUE_TIME__GRACE", "1m30s"),
        ("SEGUE_MEMORY__RETENTION", "730d"),
        ("SEGUE_APPLICATION__TIMEZONE", "Europe/Paris"),
        ("SEGUE_STORE__MEMORY", "2GiB"),
        ("SEGUE_CACHE", "not ours"),
        ("HOME", "not ours either"),
    ];
    let lines = [
        "brokers: \"a:1,b:2\"",
        "acks: all",
        "linger.ms: 5",
        "security.protocol: SASL_SSL",
        "click: c",
        "store_visit: store-visits",
        "grace: 1m30s",
        "retention: 104w2d",
        "timezone: Europe/Paris",
        "memory: 2GiB",
    ];
    check_printed(text, &environment, &lines);
    check_printed("", &[("SEGUE_KAFKA__BROKERS", "x:1")], &["brokers: \"x:1\""]);
    check_printed(BROKERS, &[("SEGUE_TOPICS__EVENTS", "{scan: scans}")], &["scan: scans"]);
}

#[test]
fn secrets_are_masked() {
    let text = "\
application: {hash_key: salt}
kafka:
  brokers: a:1
  properties: {sasl.username: me, sasl.password: hush, ssl.key.pem: hush, ssl.key.location: /etc/key.pem,
               assertion.private.key.passphrase: hush, token.endpoint.url: 'https://me:hush@idp/t?secret=hush'}
schemas: {registry: 'https://user:hush@registry:8081/api'}
log: {otlp: 'http://user:hush@collector:4318/?key=hush'}
http: {token: hush}
";
    let lines = [
        "hash_key: \"***\"",
        "sasl.username: me",
        "sasl.password: \"***\"",
        "ssl.key.pem: \"***\"",
        "ssl.key.location: /etc/key.pem",
        "assertion.private.key.passphrase: \"***\"",
        "token.endpoint.url: \"https://***@idp/t?***\"",
        "registry: \"https://***@registry:8081/api\"",
        "otlp: \"http://***@collector:4318/?***\"",
        "token: \"***\"",
    ];
    check_printed(text, &[], &lines);
    let config = read(text, &[]).unwrap();
    assert!(!format!("{config:?}").contains("hush"), "{config:?}");
    assert_eq!(config.http.token.reveal(), "hush");
}

#[test]
fn all_problems_are_told_at_once() {
    let text = "\
aplication: {id: x}
kafka:
  broker: localhost:9092
  properties: {acs: all, acks: all, lingr.ms: 5}
commit: {interval: 5 minutes, max_events: 0}
grace: 2s
time:
  alowed_lateness: 1h
  dedup_ids: 3
http: {listen: 0.0.0.0:8080}
log: human
output: {format: xml}
application: {timezone: Europe/Pariss, id: 'a b', colour: red}
topics:
  profile: clicks
  consent: 'no spaces'
  events: {click: clicks, profile: p}
store: {memory: [{a: b}]}
";
    let environment = [("SEGUE_KAFKA_BROKERS", "a:1"), ("SEGUE_HTTP__TOKN", "t"), ("SEGUE_HTTP__LISTEN__X", "t")];
    let expected = "\
segue.yaml: kafka.brokers: is required: the brokers to start from, such as `localhost:9092`
segue.yaml:1:1: unknown section `aplication`; did you mean `application`?
segue.yaml:3:3: unknown key `kafka.broker`; did you mean `kafka.brokers`?
segue.yaml:4:3: kafka.properties: no `acs`; no `lingr.ms`
segue.yaml:5:10: commit.interval: expected a length of time such as `100ms`, `90s`, `1h30m` or `30d`, found `5 minutes`
segue.yaml:5:31: commit.max_events: expected a whole number of 1 or more, found `0`
segue.yaml:6:1: unknown key `grace`; did you mean `time.grace`?
segue.yaml:8:3: unknown key `time.alowed_lateness`; did you mean `time.allowed_lateness`?
segue.yaml:9:3: unknown key `time.dedup_ids`; did you mean `memory.dedup_ids`?
segue.yaml:10:8: http.listen: 0.0.0.0:8080 can be reached from outside: set `http.token`, or listen on 127.0.0.1
segue.yaml:11:1: log: expected keys below it
segue.yaml:12:10: output.format: expected `avro` or `json`, found `xml`
segue.yaml:13:15: application.timezone: expected a time zone such as `UTC` or `Europe/Paris`, found `Europe/Pariss`
segue.yaml:13:40: application.id: names topics, so it may hold letters, digits, `.`, `_` and `-`
segue.yaml:13:51: unknown key `application.colour`; `application` has id, definitions, data_dir, workers, timezone, hash_key
segue.yaml:15:3: topics.profile: `clicks` is used twice, by click and by profile
segue.yaml:16:3: topics.consent: `no spaces` cannot be a topic: letters, digits, `.`, `_` and `-`, at most 249
segue.yaml:17:3: topics.events: `profile` is a control record: its topic is `topics.profile`
segue.yaml:18:9: store.memory: expected a list of texts
environment variable SEGUE_HTTP__LISTEN__X: http.listen has no names within
environment variable SEGUE_HTTP__TOKN: unknown key `http.tokn`; did you mean `http.token`?
environment variable SEGUE_KAFKA_BROKERS: sets nothing; did you mean SEGUE_KAFKA__BROKERS?
";
    check_problems(text, &environment, expected);
}

#[test]
fn a_file_that_is_no_yaml_or_not_there_is_told() {
    check_problems(
        "kafka: {brokers: a:1",
        &[],
        "segue.yaml:2:1: while parsing a flow mapping, did not find expected ',' or '}'",
    );
    let missing = Config::load(Path::new("no/such.yaml"), [], |_, _| Ok(())).unwrap_err().to_string();
    assert!(missing.starts_with("no/such.yaml: cannot be read: "), "{missing}");
}

#[test]
fn a_wide_listener_with_a_token_is_fine() {
    check_printed(BROKERS, &[("SEGUE_HTTP__LISTEN", "[::]:80"), ("SEGUE_HTTP__TOKEN", "t")], &["listen: \"[::]:80\""]);
    check_printed(BROKERS, &[("SEGUE_HTTP__LISTEN", "localhost:0")], &["listen: \"127.0.0.1:0\""]);
}
