//! What the engine relies on Kafka for, against a real broker: groups, transactions, the changelog, topics.

#![allow(clippy::unwrap_used, reason = "what is missing here is what the test found")]

mod support;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use segue::kafka::changelog::Changelog;
use segue::kafka::consumer::{Consumer, Event, Membership, Message, Offsets};
use segue::kafka::log::{LogConsumer as _, LogMessage as _, LogProducer as _};
use segue::kafka::topics::{COMPACTED, Topics, Wanted};
use segue::kafka::transaction::{Failure, Outgoing, Producer};
use segue::kafka::watchdog::Watchdog;
use segue::kafka::{Clients, KafkaError, Stop};
use support::Broker;

const POLL: Duration = Duration::from_millis(20);

fn clients(broker: &Broker) -> Clients {
    // A member that was not told to leave is given up soon.
    let properties = [("session.timeout.ms", "3000"), ("heartbeat.interval.ms", "300")];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Clients::new(&broker.address(), &properties.into()).unwrap()
}

fn topics<const N: usize>(broker: &Broker, partitions: i32) -> [String; N] {
    std::array::from_fn(|_| {
        let topic = broker.unique("topic");
        broker.create_topic(&topic, partitions, &[]);
        topic
    })
}

fn join(broker: &Broker, group: &str, instance: &str, topics: &[String]) -> Consumer {
    let membership = Membership {
        group: group.to_owned(),
        instance: instance.to_owned(),
        address: String::new(),
        topics: topics.to_vec(),
        partitions: 2,
    };
    Consumer::join(&clients(broker), &membership).unwrap()
}

/// The next record of any topic and partition; looks `looks` times, and waits between them.
fn poll(consumer: &Consumer, looks: u32) -> Result<Option<Message<'_>>, KafkaError> {
    for _ in 0..looks {
        if let Some(message) = consumer.serve()? {
            return Ok(Some(message));
        }
        for (lane, partition) in (0..2).flat_map(|lane| [(lane, 0), (lane, 1)]) {
            if let Some(message) = consumer.take(lane, partition)? {
                return Ok(Some(message));
            }
        }
        std::thread::sleep(POLL);
    }
    Ok(None)
}

/// Polls until the group decides something.
fn event(consumer: &Consumer) -> Event {
    for _ in 0..3000 {
        if let Some(event) = consumer.event() {
            return event;
        }
        assert!(poll(consumer, 1).unwrap().is_none(), "nothing is assigned, and yet there is a record");
    }
    panic!("the group decides nothing");
}

/// Joins and waits for partitions.
fn joined(broker: &Broker, group: &str, instance: &str, topics: &[String]) -> (Consumer, BTreeSet<i32>) {
    let consumer = join(broker, group, instance, topics);
    let Event::Assigned(partitions) = event(&consumer) else { panic!("something else than an assignment") };
    consumer.assign(&Offsets::new()).unwrap();
    (consumer, partitions)
}

fn producer(broker: &Broker, id: &str) -> Producer {
    Producer::start(&clients(broker), id, &Watchdog::default(), &Stop::default(), |_| {}).unwrap()
}

fn record<'a>(topic: &'a str, key: &'a str, value: &'a str) -> Outgoing<'a> {
    Outgoing { topic, partition: Some(0), key: Some(key.as_bytes()), value: Some(value.as_bytes()), headers: &[] }
}

fn values(broker: &Broker, topic: &str) -> Vec<String> {
    broker.read(topic).into_iter().map(|message| String::from_utf8(message.value.unwrap()).unwrap()).collect()
}

/// Takes `count` records: lane, partition and offset of each.
fn take(consumer: &Consumer, count: usize) -> Vec<(usize, i32, i64)> {
    let mut taken = Vec::new();
    for _ in 0..3000 {
        if taken.len() == count {
            return taken;
        }
        let message = poll(consumer, 1).unwrap();
        taken.extend(message.map(|message| (message.lane(), message.partition(), message.offset())));
    }
    panic!("only {taken:?} came");
}

#[test]
fn a_member_fetches_what_it_says_from_where_it_says() {
    let broker = Broker::shared();
    let topics: [String; 2] = topics(broker, 2);
    for topic in &topics {
        for partition in 0..2 {
            broker.produce(topic, partition, [("a", b"1".as_slice()), ("b", b"2"), ("c", b"3")]);
        }
    }
    let (consumer, partitions) = joined(broker, &broker.unique("group"), "one", &topics);
    assert_eq!(partitions, [0, 1].into());
    assert!(poll(&consumer, 20).unwrap().is_none(), "fetched before anyone said from where");

    let all: Vec<_> = (0..2).flat_map(|lane| [(lane, 0), (lane, 1)]).collect();
    assert_eq!(consumer.ends(all.clone()).unwrap(), all.iter().map(|of| (*of, 3)).collect());
    assert_eq!(consumer.beginnings(all.clone()).unwrap(), all.iter().map(|of| (*of, 0)).collect());
    assert_eq!(consumer.committed(&partitions).unwrap(), Offsets::new());

    consumer.assign(&[((0, 1), 1), ((1, 0), 2)].into()).unwrap();
    let mut taken = take(&consumer, 3);
    taken.sort_unstable();
    assert_eq!(taken, [(0, 1, 1), (0, 1, 2), (1, 0, 2)]);
    assert!(poll(&consumer, 10).unwrap().is_none());

    // Rewound, as after a failed transaction.
    consumer.assign(&[((0, 1), 2)].into()).unwrap();
    assert_eq!(take(&consumer, 1), [(0, 1, 2)]);

    // What is not taken waits, whatever else is, and goes with a rewind.
    consumer.assign(&[((0, 1), 2), ((1, 0), 0)].into()).unwrap();
    let of_the_other = std::iter::from_fn(|| take_from(&consumer, 1, 0)).take(3).collect::<Vec<_>>();
    assert_eq!(of_the_other, [0, 1, 2]);
    consumer.assign(&[((0, 1), 1)].into()).unwrap();
    assert_eq!(take(&consumer, 2), [(0, 1, 1), (0, 1, 2)]);
    consumer.unassign().unwrap();
    consumer.assign(&[((0, 1), 2)].into()).unwrap();
    assert_eq!(take(&consumer, 1), [(0, 1, 2)]);
}

/// Waits for the next record of one topic and partition; its offset.
fn take_from(consumer: &Consumer, lane: usize, partition: i32) -> Option<i64> {
    for _ in 0..3000 {
        assert!(consumer.serve().unwrap().is_none(), "a record came past the queue of its partition");
        if let Some(message) = consumer.take(lane, partition).unwrap() {
            return Some(message.offset());
        }
        consumer.wait(POLL);
    }
    None
}

#[test]
fn an_offset_that_is_gone_is_an_error() {
    let broker = Broker::shared();
    let topics: [String; 1] = topics(broker, 1);
    let (consumer, _) = joined(broker, &broker.unique("group"), "one", &topics);
    consumer.assign(&[((0, 0), 100)].into()).unwrap();
    for _ in 0..3000 {
        if let Err(error) = poll(&consumer, 1) {
            assert!(error.to_string().contains("no longer holds"), "{error}");
            return;
        }
    }
    panic!("an offset beyond the end was accepted");
}

#[test]
fn a_transaction_is_seen_whole_or_not_at_all() {
    let broker = Broker::shared();
    let [input, output] = topics::<2>(broker, 1);
    let group = broker.unique("group");
    let (consumer, partitions) = joined(broker, &group, "one", &[input]);
    let mut producer = producer(broker, &broker.unique("producer"));

    producer.send(&record(&output, "a", "1")).unwrap();
    producer.send(&record(&output, "a", "2")).unwrap();
    producer.send_offsets(&consumer.progress(&[((0, 0), 11)].into()).unwrap()).unwrap();
    assert_eq!(values(broker, &output), [""; 0]);
    producer.commit().unwrap();
    assert_eq!(values(broker, &output), ["1", "2"]);
    assert_eq!(consumer.committed(&partitions).unwrap(), [((0, 0), 11)].into());

    producer.send(&record(&output, "a", "3")).unwrap();
    producer.send_offsets(&consumer.progress(&[((0, 0), 12)].into()).unwrap()).unwrap();
    producer.abort().unwrap();
    producer.send(&record(&output, "a", "4")).unwrap();
    producer.commit().unwrap();
    assert_eq!(values(broker, &output), ["1", "2", "4"]);
    assert_eq!(consumer.committed(&partitions).unwrap(), [((0, 0), 11)].into());
}

#[test]
fn a_producer_of_the_same_name_fences_the_one_before() {
    let broker = Broker::shared();
    let [output] = topics::<1>(broker, 1);
    let id = broker.unique("producer");
    let mut old = producer(broker, &id);
    old.send(&record(&output, "a", "old")).unwrap();
    let mut new = producer(broker, &id);
    new.send(&record(&output, "a", "new")).unwrap();
    let failure = old.commit().unwrap_err();
    assert!(matches!(failure, Failure::Doubt(_)), "{failure}");
    new.commit().unwrap();
    assert_eq!(values(broker, &output), ["new"]);
}

#[test]
fn a_member_that_lost_its_partitions_cannot_commit() {
    let broker = Broker::shared();
    let [input, output] = topics::<2>(broker, 2);
    let (group, input) = (broker.unique("group"), [input]);
    let (old, all) = joined(broker, &group, "one", &input);
    assert_eq!(all.len(), 2);
    let mut producer = producer(broker, &broker.unique("producer"));
    producer.send(&record(&output, "a", "1")).unwrap();

    let new = join(broker, &group, "two", &input);
    assert_eq!(event(&old), Event::Revoked { lost: false });
    old.unassign().unwrap();
    let mut events = Vec::new();
    while events.len() < 2 {
        for consumer in [&old, &new] {
            poll(consumer, 1).unwrap();
            if let Some(event) = consumer.event() {
                consumer.assign(&Offsets::new()).unwrap();
                events.push(event);
            }
        }
    }
    events.sort_by_key(|event| format!("{event:?}"));
    assert_eq!(events, [Event::Assigned([0].into()), Event::Assigned([1].into())]);

    // Meanwhile the group has a new generation, and the old member is fenced if it does not know about it.
    drop(old);
    let rejoined = join(broker, &group, "one", &input);
    let progress = rejoined.progress(&[((0, 0), 1)].into()).unwrap();
    let failure = producer.send_offsets(&progress).unwrap_err();
    assert!(matches!(failure, Failure::Aborted(_)), "{failure}");
    producer.abort().unwrap();
    assert_eq!(values(broker, &output), [""; 0]);
}

/// Waits until the changelog holds more than so many records, of transactions that may still be open.
fn arrived(changelog: &Changelog<'_>, more_than: i64) {
    while changelog.extent().unwrap().high <= more_than {
        std::thread::sleep(POLL);
    }
}

#[test]
fn the_changelog_is_read_to_its_end_past_marks_and_open_transactions() {
    let broker = Broker::shared();
    let [topic] = topics::<1>(broker, 1);
    let clients = clients(broker);
    let changelog = Changelog { clients: &clients, topic: &topic, partition: 0, patience: Duration::from_mins(1) };
    let read = |from| {
        let high = changelog.extent().unwrap().high;
        let mut entries = Vec::new();
        let each = |entry: segue::kafka::changelog::Entry<'_>| {
            entries.push((entry.offset, String::from_utf8(entry.value.unwrap().to_vec()).unwrap()));
            ControlFlow::Continue(())
        };
        changelog.read(from, high, &Stop::default(), each).map(|()| entries)
    };
    assert_eq!(read(0).unwrap(), []);

    let id = broker.unique("producer");
    let mut first = producer(broker, &id);
    for value in ["1", "2"] {
        first.send(&record(&topic, "a", value)).unwrap();
        first.commit().unwrap();
    }
    // Offsets 1 and 3 are the marks of the commits.
    assert_eq!(read(0).unwrap(), [(0, "1".into()), (2, "2".into())]);
    assert_eq!(read(1).unwrap(), [(2, "2".into())]);
    assert_eq!(read(4).unwrap(), []);

    // An open transaction is waited for; it ends when its producer is fenced.
    first.send(&record(&topic, "a", "aborted")).unwrap();
    arrived(&changelog, 4);
    let entries = std::thread::scope(|scope| {
        let reading = scope.spawn(|| read(0));
        std::thread::sleep(POLL * 20);
        assert!(!reading.is_finished(), "the end of what was committed is taken for the end");
        let mut second = producer(broker, &id);
        second.send(&record(&topic, "a", "3")).unwrap();
        second.commit().unwrap();
        reading.join().unwrap().unwrap()
    });
    assert_eq!(entries, [(0, "1".into()), (2, "2".into())], "exactly what was there when it was asked");
    assert_eq!(read(4).unwrap(), [(6, "3".into())]);
}

#[test]
fn a_changelog_without_an_end_is_told_from_a_slow_one() {
    let broker = Broker::shared();
    let [topic] = topics::<1>(broker, 1);
    let clients = clients(broker);
    let changelog = Changelog { clients: &clients, topic: &topic, partition: 0, patience: Duration::from_secs(1) };
    let mut open = producer(broker, &broker.unique("producer"));
    open.send(&record(&topic, "a", "1")).unwrap();
    arrived(&changelog, 0);
    let high = changelog.extent().unwrap().high;
    assert_eq!(high, 1);
    let error = changelog.read(0, high, &Stop::default(), |_| ControlFlow::Continue(())).unwrap_err();
    assert!(error.to_string().contains("at offset 0 of 1"), "{error}");
}

#[test]
fn topics_are_counted_and_made() {
    let broker = Broker::shared();
    let clients = clients(broker);
    let topics = Topics::new(&clients).unwrap();
    let names: [String; 3] = std::array::from_fn(|_| broker.unique("topic"));
    let wanted = |name: &String, partitions| Wanted { name: name.clone(), partitions, settings: COMPACTED.to_vec() };
    topics.create(&[wanted(&names[0], 3), wanted(&names[1], 2)]).unwrap();
    topics.create(&[wanted(&names[0], 5)]).unwrap();
    let count = |index: usize| topics.partitions(&names).unwrap()[&names[index]];
    assert_eq!([count(0), count(1), count(2)], [Some(3), Some(2), None]);
    assert_eq!(topics.shared_partitions(&names[..1]).unwrap(), 3);
    let error = topics.shared_partitions(&names[..2]).unwrap_err().to_string();
    assert!(error.contains(&format!("{} 3", names[0])) && error.contains(&format!("{} 2", names[1])), "{error}");
    let error = topics.shared_partitions(&names).unwrap_err().to_string();
    assert!(error.contains(&format!("{} is missing", names[2])), "{error}");
    let error = topics.create(&[wanted(&names[2], 0)]).unwrap_err();
    assert!(matches!(error, KafkaError::Refused { .. }), "{error}");
}

#[test]
fn properties_that_guarantees_rest_on_are_refused() {
    for name in ["isolation.level", "group.id", "partition.assignment.strategy"] {
        let error = Clients::new("b:1", &[(name.to_owned(), "x".to_owned())].into()).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}
