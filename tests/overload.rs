//! More than can be done: one customer who never rests, a backlog many times what a second takes, everybody at once. Nothing is
//! lost, the others go on, and memory stays within its budget.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

mod support;

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use support::load::now_ms;
use support::{Broker, Event, Site, Story, story};

const DEFINITIONS: &str = r#"
segments:
  - {name: clicker, when: did(click)}
  - {name: robot, when: count(click over 1h) >= 19000}
  - {name: curious, when: distinct(click.page over 1d) >= 200}
  - {name: fan, when: 'top(click.page over 1d) = "page-0"'}
  - {name: warm, when: did(purchase over 3s)}
"#;
const HOT: &str = "hot";
/// So many events of one customer are there at first, and always half as many to be seen to.
const N_HOT: i64 = 20_000;
/// Whoever waits for so many of somebody else's waits in vain.
const N_HOT_MAX: i64 = 200_000;
const HOT_EVERY_MS: i64 = 15;

fn click(customer: &str, number: i64, at: i64) -> Event {
    json!({"type": "click", "event_id": format!("{customer}-{number}"), "customer_id": customer, "occurred_at": at,
           "page": format!("page-{}", number % 5_000)})
}

fn purchase(customer: &str, at: i64) -> Event {
    json!({"type": "purchase", "event_id": format!("p-{customer}"), "customer_id": customer, "occurred_at": at,
           "order_id": "o", "total": 5, "currency": "EUR", "items": []})
}

/// However fast it is: there is always more of this customer to do until the others are seen to be done.
#[test]
fn a_customer_who_never_rests_keeps_nobody_else_waiting() {
    let mut site = Site::new(Broker::shared(), 4, DEFINITIONS);
    site.more += "commit: {max_events: 500}\n";
    let start = now_ms() - N_HOT_MAX * HOT_EVERY_MS;
    let hot = |numbers: std::ops::Range<i64>| numbers.map(|number| click(HOT, number, start + number * HOT_EVERY_MS));
    let names = (0..1_000).map(|number| format!("elsewhere-{number}"));
    let others = names.filter(|name| site.partition_of(name) != site.partition_of(HOT));
    let others: Vec<Event> = others.map(|name| click(&name, 0, start)).collect();
    let mut n_hot = N_HOT;
    site.produce(&hot(0..n_hot).collect::<Vec<_>>());
    site.produce(&others);
    let mut engine = site.start();
    engine.wait_until(|| site.broker.has_topic(&site.topic("changes")));

    let mut watching = Watching::new(&site);
    let done = site.broker.client().set("group.id", &site.name).create::<BaseConsumer>().unwrap();
    // Each of the others becomes a clicker and a fan.
    while watching.elsewhere.len() < 2 * others.len() {
        assert!(engine.is_running(), "{}", engine.log_end());
        let n_left = n_hot - committed(&done, &site.topic("clicks"), site.partition_of(HOT));
        if n_left < N_HOT / 2 {
            assert!(
                n_hot < N_HOT_MAX,
                "{} changes of others while {n_hot} of one were seen to",
                watching.elsewhere.len()
            );
            hot(n_hot..n_hot + N_HOT / 2).for_each(|event| watching.send(&site, &event));
            n_hot += N_HOT / 2;
        }
        watching.look(Duration::from_millis(50));
    }
    let events: Vec<Event> = hot(0..n_hot).chain(others).collect();
    site.wait_for(&mut engine, &site.expected(&events, now_ms()));
    Site::stop(engine);
}

/// How many records of a partition are done with.
fn committed(group: &BaseConsumer, topic: &str, partition: i32) -> i64 {
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, partition);
    let told = group.committed_offsets(asked, Duration::from_secs(30)).unwrap();
    match told.elements()[0].offset() {
        Offset::Offset(offset) => offset,
        _ => 0,
    }
}

/// So many of those who leave do something between two looks.
const CLICKS_AT_ONCE: usize = 1_000;

/// What a subscriber sees, while it happens; and a producer that does not wait.
struct Watching {
    producer: ThreadedProducer<DefaultProducerContext>,
    consumer: BaseConsumer,
    story: Story,
    n_changes: usize,
    /// When each change of a customer elsewhere was seen, and when it was sent, milliseconds since the epoch.
    elsewhere: Vec<(i64, i64)>,
    /// When the first and the last of those who leave were seen to.
    leaving: Option<(i64, i64)>,
}

impl Watching {
    fn new(site: &Site) -> Self {
        let mut client = site.broker.client();
        client.set("group.id", "watching").set("isolation.level", "read_committed").set("fetch.wait.max.ms", "10");
        let consumer: BaseConsumer = client.create().unwrap();
        let mut all = TopicPartitionList::new();
        for partition in 0..site.partitions {
            all.add_partition_offset(&site.topic("changes"), partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&all).unwrap();
        let producer = site.broker.client().set("queue.buffering.max.messages", "2000000").create().unwrap();
        Self { producer, consumer, story: Story::new(), n_changes: 0, elsewhere: Vec::new(), leaving: None }
    }

    fn send(&self, site: &Site, event: &Event) {
        let customer = event["customer_id"].as_str().unwrap();
        let topic = site.topic(if event["type"] == "click" { "clicks" } else { "purchases" });
        let bytes = event.to_string();
        let record = BaseRecord::to(&topic).partition(site.partition_of(customer)).key(customer).payload(&bytes);
        assert!(self.producer.send(record).is_ok());
    }

    /// Looks for so long.
    fn look(&mut self, time: Duration) {
        let until = now_ms() + i64::try_from(time.as_millis()).unwrap();
        while let left @ 1.. = until - now_ms() {
            let Some(message) = self.consumer.poll(Duration::from_millis(left.unsigned_abs())) else { return };
            let message = message.unwrap();
            let change: Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
            let now = now_ms();
            self.n_changes += 1;
            if change["customer_id"].as_str().unwrap().starts_with("elsewhere") {
                let sent: jiff::Timestamp = change["at"].as_str().unwrap().parse().unwrap();
                self.elsewhere.push((now, sent.as_millisecond()));
            } else if change["change"] == "left" {
                self.leaving = Some((self.leaving.map_or(now, |(first, _)| first), now));
            }
            for (customer, told) in story(&[change]) {
                self.story.entry(customer).or_default().extend(told);
            }
        }
    }

    /// The longest that somebody elsewhere had to wait who sent something between two instants, milliseconds, and from when on.
    fn longest_wait(&self, from: i64, to: i64) -> (i64, i64) {
        let sent_then = self.elsewhere.iter().filter(|(seen, sent)| *sent < to && *seen > from);
        sent_then.map(|(seen, sent)| (seen - sent, *sent)).max().unwrap_or_default()
    }
}

/// Everybody in two of four partitions leaves at one instant, while more comes in: to them, and to others, who share a worker
/// with them each.
#[test]
#[allow(clippy::print_stdout, reason = "a figure for people")]
fn everybody_at_once_in_little_memory() {
    let n_leaving: usize = std::env::var("SEGUE_LEAVING").ok().and_then(|n| n.parse().ok()).unwrap_or(60_000);
    // Long enough for all of them to have come.
    let stay_ms = (6 + i64::try_from(n_leaving / 8_000).unwrap()) * 1_000;
    let definitions = DEFINITIONS.replace("over 3s", &format!("over {}s", stay_ms / 1_000));
    let mut site = Site::new(Broker::shared(), 4, &definitions);
    site.more += "store: {memory: 32MiB}\n";
    let mut engine = site.start();
    engine.wait_until(|| site.broker.has_topic(&site.topic("changes")));
    let mut watching = Watching::new(&site);

    let names = (0..).map(|number| format!("customer-{number}"));
    let leaving: Vec<String> = names.filter(|name| site.partition_of(name) % 2 == 0).take(n_leaving).collect();
    let at = now_ms();
    for name in &leaving {
        watching.send(&site, &purchase(name, at));
    }
    while watching.n_changes < n_leaving {
        assert!(engine.is_running() && now_ms() < at + stay_ms, "{} came; {}", watching.n_changes, engine.log_end());
        watching.look(Duration::from_millis(100));
    }
    let came_after_ms = now_ms() - at;

    // From shortly before the instant on, somebody else each 20 ms, and something of every third of them.
    while now_ms() < at + stay_ms - 1_000 {
        watching.look(Duration::from_millis(100));
    }
    let mut others = names_elsewhere(&site);
    let clicked_at = at + stay_ms + 500;
    let n_clicking = leaving.iter().step_by(3).count();
    let (mut n_clicked, mut n_elsewhere) = (0, 0);
    while watching.n_changes - watching.elsewhere.len() < 2 * n_leaving + n_clicking {
        assert!(engine.is_running(), "{}", engine.log_end());
        assert!(now_ms() < at + 3 * stay_ms + 60_000, "{} changes; {}", watching.n_changes, engine.log_end());
        watching.send(&site, &click(&others.next().unwrap(), 1, now_ms()));
        n_elsewhere += 1;
        if now_ms() > clicked_at {
            for name in leaving.iter().step_by(3).skip(n_clicked).take(CLICKS_AT_ONCE) {
                watching.send(&site, &click(name, 1, clicked_at));
                n_clicked += 1;
            }
        }
        watching.look(Duration::from_millis(20));
    }
    watching.look(Duration::from_secs(1));

    check_stories(&site, &leaving, watching.story.clone(), at, clicked_at);
    assert_eq!(watching.elsewhere.len(), n_elsewhere);
    assert_eq!(site.messages("dead_letters"), []);
    let (first, last) = watching.leaving.unwrap();
    let peak_mib = engine.peak_memory_bytes() >> 20;
    let due = at + stay_ms;
    let ((longest_ms, longest_at), (before_ms, _)) = (watching.longest_wait(due, last), watching.longest_wait(0, due));
    println!(
        "{n_leaving} customers came within {came_after_ms} ms; after the instant, the first was told to have left within {} ms, \
         the last within {} ms; others waited {before_ms} ms at most before it, and then {longest_ms} ms, {} ms after it; \
         {peak_mib} MiB at most",
        first - due,
        last - due,
        longest_at - due,
    );
    assert!(peak_mib < 700, "{peak_mib} MiB");
    Site::stop(engine);
}

/// Customers in the partitions that nobody leaves.
fn names_elsewhere(site: &Site) -> impl Iterator<Item = String> {
    (0..).map(|number| format!("elsewhere-{number}")).filter(|name| site.partition_of(name) % 2 == 1)
}

/// Each of those who left has the story that one like them has when nothing is in the way.
fn check_stories(site: &Site, leaving: &[String], mut found: Story, at: i64, clicked_at: i64) {
    let sample = [purchase("with", at), purchase("without", at), click("with", 1, clicked_at)];
    let expected = site.expected(&sample, now_ms());
    for (number, name) in leaving.iter().enumerate() {
        let expected = &expected[if number.is_multiple_of(3) { "with" } else { "without" }];
        assert_eq!(found.remove(name).as_ref(), Some(expected), "{name}");
    }
    assert!(found.keys().all(|name| name.starts_with("elsewhere")));
}
