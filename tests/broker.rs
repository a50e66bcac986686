//! The real broker and registry of the test support do what tests rely on: keep records, hide aborted transactions,
//! survive a kill, hand out schema ids.

mod support;

use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use support::{Broker, Registry};

const TIMEOUT: Duration = Duration::from_secs(30);

#[test]
fn a_topic_keeps_what_was_sent_in_order() {
    let broker = Broker::shared();
    let topic = broker.unique("kept");
    broker.create_topic(&topic, 2, &[("cleanup.policy", "compact")]);
    broker.produce(&topic, 1, [("ada", b"first".as_slice()), ("ada", b"second")]);

    let read: Vec<_> = broker.read(&topic).into_iter().map(|message| (message.partition, message.value)).collect();
    assert_eq!(read, [(1, Some(b"first".to_vec())), (1, Some(b"second".to_vec()))]);
}

#[test]
fn a_subscriber_sees_committed_transactions_only() {
    let broker = Broker::shared();
    let topic = broker.unique("transactions");
    broker.create_topic(&topic, 1, &[]);
    let producer: BaseProducer = broker.client().set("transactional.id", broker.unique("writer")).create().unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    for (value, is_committed) in [("kept", true), ("dropped", false), ("kept too", true)] {
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::<str, str>::to(&topic).payload(value)).unwrap();
        if is_committed {
            producer.commit_transaction(TIMEOUT).unwrap();
        } else {
            producer.flush(TIMEOUT).unwrap();
            producer.abort_transaction(TIMEOUT).unwrap();
        }
    }

    let read: Vec<_> = broker.read(&topic).into_iter().map(|message| message.value.unwrap()).collect();
    assert_eq!(read, [b"kept".to_vec(), b"kept too".to_vec()]);
}

#[test]
fn a_killed_broker_comes_back_with_its_records() {
    let broker = Broker::start();
    broker.create_topic("kept", 1, &[]);
    broker.produce("kept", 0, [("ada", b"before".as_slice())]);
    broker.kill();
    broker.restart();
    broker.stop();
    broker.cont();
    broker.produce("kept", 0, [("ada", b"after".as_slice())]);

    let read: Vec<_> = broker.read("kept").into_iter().map(|message| message.value.unwrap()).collect();
    assert_eq!(read, [b"before".to_vec(), b"after".to_vec()]);
}

#[test]
fn a_registered_schema_is_found_by_its_id() {
    let registry = Registry::shared();
    let schema = r#"{"type":"record","name":"Click","namespace":"segue","fields":[{"name":"page","type":"string"}]}"#;
    let id = registry.register("clicks-value", schema);
    assert_eq!(registry.register("clicks-value", schema), id, "the same schema keeps its id");

    let answer = reqwest::blocking::get(format!("{}/schemas/ids/{id}", registry.url())).unwrap();
    let found: serde_json::Value = answer.json().unwrap();
    let found: serde_json::Value = serde_json::from_str(found["schema"].as_str().unwrap()).unwrap();
    assert_eq!(found, serde_json::from_str::<serde_json::Value>(schema).unwrap());
}
