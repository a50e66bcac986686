//! The long random test: engines and broker are killed, halted, stopped and started at random under live load, and what
//! subscribers saw is compared with what an uninterrupted run gives. `./dev soak MINUTES [SEED]` runs it.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]
#![allow(clippy::disallowed_methods, reason = "how long it is to take is measured")]
#![allow(clippy::print_stdout, reason = "whoever waits for an hour wants to see what happens")]

mod support;

use std::fmt::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use serde_json::json;
use support::load::now_ms;
use support::{Broker, Event, Server, Site, story};

/// Each customer has events of one topic only: live, topics are not waited for.
const DEFINITIONS: &str = r"
segments:
  - {name: busy, when: count(click over 30s) >= 3}
  - {name: regular, when: count(click) >= 20}
  - {name: warm, when: did(click over 20s), until: count(click over 40s) >= 4}
  - {name: spender, when: sum(purchase.total over 45s) >= 20}
  - {name: buyer, when: did(purchase over 1m)}
";

/// Longer than any outage, so that what waited for the broker is not late, milliseconds.
const GRACE_S: u64 = 90;
/// The longest window and some more, after which nothing changes by itself any more.
const SETTLE: Duration = Duration::from_secs(GRACE_S + 70);
const ENGINES: [&str; 3] = ["a", "b", "c"];

/// xorshift64: the same seed, the same plan.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().unwrap())
}

/// Sends events as they happen, until told to stop; gives them all, once the broker has them all.
fn live_traffic(site: &Site, stop: &AtomicBool, seed: u64) -> Vec<Event> {
    let mut config = site.broker.client();
    // In order, and as often as it takes: an event that comes twice counts once.
    config.set("acks", "all").set("max.in.flight", "1").set("message.timeout.ms", "0").set("linger.ms", "1");
    config.set("reconnect.backoff.max.ms", "1000");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().unwrap();
    let (clicks, purchases) = (site.topic("clicks"), site.topic("purchases"));
    let mut random = Random(seed ^ 0x9e37_79b9_7f4a_7c15);
    let mut events = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..=random.below(6) {
            let (id, at) = (events.len(), now_ms());
            let buys = random.below(5) == 0;
            let customer = format!("{}-{}", if buys { "p" } else { "c" }, random.below(300));
            let event = if buys {
                json!({"type": "purchase", "event_id": format!("e{id}"), "customer_id": customer, "occurred_at": at,
                       "order_id": "o", "total": random.below(15), "currency": "EUR", "items": []})
            } else {
                json!({"type": "click", "event_id": format!("e{id}"), "customer_id": customer, "occurred_at": at})
            };
            let value = event.to_string();
            let record = BaseRecord::to(if buys { &purchases } else { &clicks }).key(&customer).payload(&value);
            producer.send(record.partition(site.partition_of(&customer))).map_err(|(error, _)| error).unwrap();
            events.push(event);
        }
        sleep(random.millis(10, 60));
    }
    let flushed = producer.flush(Duration::from_mins(2));
    assert!(flushed.is_ok(), "{} events are with nobody:\n{}", producer.in_flight_count(), site.broker.log_end());
    events
}

/// The engines, some of which run.
struct Fleet<'s> {
    site: &'s Site,
    engines: Vec<Option<Server>>,
}

impl Fleet<'_> {
    /// Nobody may end that was not told to.
    fn must_live(&mut self) {
        for (name, engine) in ENGINES.iter().zip(&mut self.engines) {
            if let Some(engine) = engine {
                assert!(engine.is_running(), "{name} has ended by itself:\n{}", engine.log_end());
            }
        }
    }

    fn start(&mut self, index: usize) {
        if self.engines[index].is_none() {
            self.engines[index] = Some(self.site.start_in(ENGINES[index]));
        }
    }

    /// Does something to one of the engines.
    fn disturb(&mut self, random: &mut Random) -> String {
        let index = usize::try_from(random.below(3)).unwrap();
        let name = ENGINES[index];
        let Some(mut engine) = self.engines[index].take() else {
            if random.below(4) == 0 {
                let _ = std::fs::remove_dir_all(self.site.directory.path().join(name));
            }
            self.start(index);
            return format!("{name} starts");
        };
        match random.below(6) {
            0 | 1 => {
                engine.kill();
                format!("{name} is killed")
            }
            2 => {
                engine.kill();
                self.start(index);
                format!("{name} is killed and started")
            }
            3 => {
                engine.signal("TERM");
                let code = engine.ended();
                // With the broker away it cannot hand over in time, and says so.
                assert!(code == 0 || code == 4, "{}", engine.log_end());
                format!("{name} ends")
            }
            _ => {
                let pause = random.millis(500, 20_000);
                engine.signal("STOP");
                sleep(pause);
                engine.signal("CONT");
                self.engines[index] = Some(engine);
                format!("{name} is halted for {pause:?}")
            }
        }
    }
}

fn disturb_broker(broker: &Broker, random: &mut Random) -> String {
    let pause = random.millis(100, 25_000);
    if random.below(2) == 0 {
        broker.kill();
        sleep(pause);
        broker.restart();
        format!("the broker is killed, and back after {pause:?}")
    } else {
        broker.stop();
        sleep(pause);
        broker.cont();
        format!("the broker is halted for {pause:?}")
    }
}

#[test]
#[ignore = "takes as long as it is told to: ./dev soak MINUTES"]
fn whatever_is_killed_or_halted_subscribers_see_each_change_once() {
    let minutes = number("SEGUE_SOAK_MINUTES", 5);
    let seed = number("SEGUE_SOAK_SEED", u64::try_from(now_ms()).unwrap());
    println!("{minutes} minutes, seed {seed}");
    let broker: &'static Broker = Box::leak(Box::new(Broker::start()));
    let mut site = Site::new(broker, 6, DEFINITIONS);
    writeln!(site.more, "time: {{grace: {GRACE_S}s}}\ncommit: {{interval: 20ms}}").unwrap();
    let (site, stop) = (Arc::new(site), Arc::new(AtomicBool::new(false)));
    let events = Arc::new(Mutex::new(Vec::new()));
    let traffic = {
        let (site, stop, events) = (Arc::clone(&site), Arc::clone(&stop), Arc::clone(&events));
        std::thread::spawn(move || *events.lock().unwrap() = live_traffic(&site, &stop, seed))
    };
    let mut fleet = Fleet { site: &site, engines: vec![None, None, None] };
    fleet.start(0);
    let mut random = Random(seed | 1);
    let began = Instant::now();
    while began.elapsed() < Duration::from_mins(minutes) {
        sleep(random.millis(500, 9_000));
        fleet.must_live();
        let done = if random.below(4) == 0 { disturb_broker(broker, &mut random) } else { fleet.disturb(&mut random) };
        println!("{:>6} s  {done}", began.elapsed().as_secs());
    }
    stop.store(true, Ordering::Relaxed);
    traffic.join().unwrap();
    (0..ENGINES.len()).for_each(|index| fleet.start(index));
    settle(&site, &mut fleet, &events.lock().unwrap());
}

/// Waits until nothing more can change, and compares.
fn settle(site: &Site, fleet: &mut Fleet<'_>, events: &[Event]) {
    let expected = site.expected(events, now_ms() + 86_400_000);
    let wanted: usize = expected.values().map(Vec::len).sum();
    println!("{} events, {wanted} changes expected", events.len());
    sleep(SETTLE);
    for _ in 0..60 {
        fleet.must_live();
        if site.messages("changes").len() >= wanted {
            break;
        }
        sleep(Duration::from_secs(5));
    }
    sleep(Duration::from_secs(2));
    let found = story(&site.changes());
    for (customer, changes) in &expected {
        assert_eq!(found.get(customer), Some(changes), "{customer}");
    }
    assert_eq!(found.len(), expected.len(), "changes of customers who have none");
    assert_eq!(site.messages("dead_letters"), []);
    for engine in &mut fleet.engines {
        Site::stop(engine.take().unwrap());
    }
    for name in ENGINES {
        let mut verify = Command::new(env!("CARGO_BIN_EXE_segue"));
        let verify =
            verify.args(["state", "verify", "--config"]).arg(site.directory.path().join(format!("{name}.yaml")));
        let output = verify.output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        println!("{name}: {told}");
        // A store that another process took over from is behind the group, and right as far as it goes.
        assert!(!told.contains("\"agrees_with_changelog\":false"), "{told}");
    }
    println!("all {wanted} changes came once, in order");
}
