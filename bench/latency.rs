//! How long it takes from an event to the change it brings about, as a `read_committed` subscriber sees it; and how long
//! after a change that time alone brings about is due.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use segue::wire::schema::SchemaSet;
use serde::Serialize;

use crate::broker::{Broker, INPUTS};
use crate::chance::Chance;
use crate::change::Decode;
use crate::contender::Contender;
use crate::encode::Encoder;
use crate::measure::follow;
use crate::traffic::{Event, Kind, customer_id};

/// Every event is a new customer's click: it enters `new_customer` at once, and leaves `briefly` after this.
pub(crate) const BRIEFLY: &str = "segments:\n  - {name: briefly, when: did(click over 5s)}\n";
/// The default of `time.grace`, which changes caused by time are waited for.
const GRACE_MS: i64 = 1_000;
/// Until connections and code are warm nothing is counted; the broker compiles for a while.
const WARM_UP: Duration = Duration::from_secs(20);

/// Milliseconds at percentiles.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    name: &'static str,
    rate: u64,
    /// Of what.
    what: &'static str,
    count: usize,
    p50: i64,
    p99: i64,
    p999: i64,
}

impl Latency {
    fn of(name: &'static str, rate: u64, what: &'static str, mut delays: Vec<i64>) -> Option<Self> {
        delays.sort_unstable();
        let at = |permille: usize| delays.get((delays.len() * permille / 1_000).min(delays.len() - 1)).copied();
        let count = delays.len();
        (count > 0).then(|| Some(Self { name, rate, what, count, p50: at(500)?, p99: at(990)?, p999: at(999)? }))?
    }

    pub(crate) fn line(&self) -> String {
        let Self { name, rate, what, count, p50, p99, p999 } = self;
        format!("| {name} | {rate} | {what} | {count} | {p50} | {p99} | {p999} |\n")
    }
}

/// Puts clicks of so many customers into the broker, whose one-day windows then wait to end.
pub(crate) fn publish_waiting(broker: &Broker, count: u64) -> Result<()> {
    let sender = Sender::new(broker)?;
    let now = wall_ms();
    for number in 0..count {
        let back = i64::try_from(count - number).unwrap_or_default() * 60_000 / i64::try_from(count.max(1))?;
        sender.send(number, now - 60_000 - back)?;
    }
    sender.flush()
}

/// Sends `rate` events a second for `seconds`, and watches the changes come out.
pub(crate) fn measure(broker: &Broker, contender: &mut Contender, rate: u64, seconds: u64) -> Result<Vec<Latency>> {
    follow(broker, contender, i64::MAX)?;
    let (topic, decode) = contender.changes.context("the bare loop tells no changes")?;
    let consumer = subscribe(broker, topic)?;
    let is_over = AtomicBool::new(false);
    let (mut entered, mut left) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| -> Result<()> {
        let sending = scope.spawn(|| {
            let sent = send_all(broker, rate, Duration::from_secs(seconds));
            std::thread::sleep(Duration::from_secs(2));
            is_over.store(true, Ordering::Relaxed);
            sent
        });
        let began = Instant::now();
        while !is_over.load(Ordering::Relaxed) {
            let seen = poll(&consumer, decode)?;
            if began.elapsed() < WARM_UP {
                continue;
            }
            match seen {
                Some((segment, true, at)) if segment == "new_customer" => entered.push(wall_ms() - at),
                Some((segment, false, at)) if segment == "briefly" => left.push(wall_ms() - at - GRACE_MS),
                _ => {}
            }
        }
        sending.join().map_err(|_| anyhow::anyhow!("sending panicked"))?
    })?;
    let name = contender.name;
    let of_events = Latency::of(name, rate, "event to change", entered);
    Ok(of_events.into_iter().chain(Latency::of(name, rate, "due to change", left)).collect())
}

/// Definitions with [`BRIEFLY`] next to the others.
pub(crate) fn definitions(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(std::fs::write(to.join("briefly.yaml"), BRIEFLY)?)
}

fn poll(consumer: &BaseConsumer, decode: Decode) -> Result<Option<crate::change::Change>> {
    match consumer.poll(Duration::from_millis(100)) {
        Some(Ok(message)) => Ok(Some(decode(message.payload().context("a change without a value")?)?.1)),
        Some(Err(error)) => Err(error.into()),
        None => Ok(None),
    }
}

fn subscribe(broker: &Broker, topic: &str) -> Result<BaseConsumer> {
    let mut list = TopicPartitionList::new();
    for number in 0..broker.ends(topic)?.len() {
        list.add_partition_offset(topic, i32::try_from(number)?, Offset::End)?;
    }
    let mut config = broker.client();
    config.set("group.id", "latency").set("isolation.level", "read_committed").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.set("fetch.wait.max.ms", "50").create()?;
    consumer.assign(&list)?;
    Ok(consumer)
}

fn send_all(broker: &Broker, rate: u64, lasting: Duration) -> Result<()> {
    let sender = Sender::new(broker)?;
    let (began, mut n_sent) = (Instant::now(), 0);
    // Customers that no contender before has met.
    let first = u64::try_from(wall_ms())? * 1_000;
    while began.elapsed() < lasting {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a count"
        )]
        let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
        while n_sent < due {
            sender.send(first + n_sent, wall_ms())?;
            n_sent += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    sender.flush()
}

/// Sends clicks at once, rather than in large batches.
struct Sender {
    producer: ThreadedProducer<DefaultProducerContext>,
    encoder: Encoder,
}

impl Sender {
    fn new(broker: &Broker) -> Result<Self> {
        let mut config = broker.client();
        config
            .set("partitioner", "murmur2_random")
            // Else a thousand requests a second queue up in a broker that is slower than that.
            .set("max.in.flight.requests.per.connection", "4")
            .set("queue.buffering.max.messages", "2000000");
        let encoder = Encoder::new(&SchemaSet::shipped()?).context("a shipped schema is missing")?;
        Ok(Self { producer: config.create()?, encoder })
    }

    fn send(&self, customer: u64, occurred_at: i64) -> Result<()> {
        let event = Event { occurred_at, number: customer, kind: Kind::Click, customer, cart: 0 };
        let mut value = Vec::new();
        self.encoder.write(&event, &mut Chance::new(customer), &mut value);
        let key = customer_id(customer);
        let record = BaseRecord::to(INPUTS[0]).key(&key).payload(&value).timestamp(occurred_at);
        self.producer.send(record).map_err(|(error, _)| error.into())
    }

    fn flush(&self) -> Result<()> {
        Ok(self.producer.flush(Duration::from_mins(1))?)
    }
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or_default()
}
