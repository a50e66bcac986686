//! The changes as subscribers see them, for those who follow them over HTTP: what is committed, of all processes.
//!
//! One thread reads the end of the topic while anyone follows, keeps the latest changes, and hands each to all who
//! follow. Who comes back with an older place first reads what they missed with a reader of their own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json};
use tokio::sync::broadcast;

use crate::kafka::partitioner::partition_of;
use crate::kafka::registry::Registry;
use crate::kafka::tail::{Record, Tail};
use crate::kafka::{Clients, KafkaError, Stop, patiently};

use super::changes::Changes;
use super::clock::{now, since};

/// The latest changes that are kept.
const RECENT: usize = 5_000;
/// Changes handed out and not yet taken, before a follower counts as too slow.
const BEHIND_MAX: usize = 2_048;
/// So many of the latest changes are looked through for those of one customer, and for so long.
const PAST: i64 = 100_000;
const PAST_PATIENCE: Duration = Duration::from_secs(5);
/// How long the topic is read on after the last who followed.
const LINGER: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(100);

/// Where a reader of the changes is: for each partition, the offset of the next.
pub type Place = Vec<i64>;

/// A committed change.
#[derive(Debug)]
pub struct Told {
    /// Its partition in the topic of changes.
    pub partition: usize,
    /// Its offset there.
    pub offset: i64,
    /// The change, as its JSON form has it.
    pub change: Map<String, Json>,
}

impl Told {
    /// A text of the change.
    pub fn text(&self, field: &str) -> &str {
        self.change.get(field).and_then(Json::as_str).unwrap_or_default()
    }

    /// Whether it is of this segment and this customer, where they are named.
    pub fn is_of(&self, segment: Option<&str>, customer_id: Option<&str>) -> bool {
        segment.is_none_or(|name| self.text("segment") == name)
            && customer_id.is_none_or(|id| self.text("customer_id") == id)
    }
}

/// What is found of a customer in the changes that were looked through.
#[derive(Debug, Default)]
pub struct Past {
    /// Their latest changes, newest first.
    pub changes: Vec<Told>,
    /// How many changes were looked at.
    pub looked_at: usize,
    /// The oldest of those, whosever it is.
    pub oldest: Option<Told>,
}

/// The changes of an application. Clones are the same.
#[derive(Clone)]
pub struct Feed(Arc<Shared>);

struct Shared {
    clients: Clients,
    topic: String,
    registry: Option<Registry>,
    stop: Stop,
    live: Mutex<Option<Live>>,
}

/// What is there while the topic is read.
struct Live {
    sender: broadcast::Sender<Arc<Told>>,
    /// How far the topic is read.
    place: Place,
    /// Where it ended when this began: what lies before is no news to anyone.
    born: Place,
    recent: VecDeque<Arc<Told>>,
    used_at: Instant,
}

/// Following from now on.
pub struct Following {
    /// What comes from `place` on.
    pub receiver: broadcast::Receiver<Arc<Told>>,
    /// Where the topic had been read to.
    pub place: Place,
}

impl Feed {
    /// The feed of a topic of changes. Nothing is read before someone follows.
    pub fn new(clients: Clients, topic: &str, registry: Option<Registry>, stop: Stop) -> Self {
        Self(Arc::new(Shared { clients, topic: topic.to_owned(), registry, stop, live: Mutex::new(None) }))
    }

    /// The feed of a broker that is not there, for those who are handed changes otherwise.
    #[cfg(test)]
    pub fn of_nobody() -> Self {
        Self::new(Clients::nowhere(), "changes", None, Stop::default())
    }

    /// Whether the process is ending.
    pub fn is_ending(&self) -> bool {
        self.0.stop.is_requested()
    }

    /// Follows from now on. May wait for the broker: not for a thread that must not block.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn follow(&self) -> Result<Following, KafkaError> {
        let mut live = self.live()?;
        let live = live.as_mut().ok_or(KafkaError::Stopped)?;
        let place = live.place.iter().zip(&live.born).map(|(read, born)| *read.max(born)).collect();
        Ok(Following { receiver: live.sender.subscribe(), place })
    }

    /// The latest changes, newest first. May wait for the broker.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn recent(&self) -> Result<Vec<Arc<Told>>, KafkaError> {
        let live = self.live()?;
        Ok(live.iter().flat_map(|live| live.recent.iter().rev().cloned()).collect())
    }

    /// A customer's latest changes. Waits for the broker.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn of_customer(&self, customer_id: &str, limit: usize) -> Result<Past, KafkaError> {
        let tail = Tail::connect(&self.0.clients, &self.0.topic)?;
        let mut reader = self.0.reader()?;
        let n_partitions = tail.n_partitions()?;
        let partition = partition_of(customer_id.as_bytes(), n_partitions);
        let extent = tail.extent(partition)?;
        let mut place = vec![0; n_partitions];
        place[partition] = extent.low.max(extent.high - PAST);
        tail.start_some([(partition, place[partition])])?;
        let mut past = Past::default();
        let began = now();
        while place[partition] < extent.high && began.elapsed() < PAST_PATIENCE && !self.is_ending() {
            let Some(record) = tail.poll(POLL)? else {
                place = tail.positions(&place);
                continue;
            };
            place[partition] = record.offset + 1;
            past.looked_at += 1;
            if past.oldest.is_none() {
                past.oldest = told(&mut reader, &record);
            }
            if record.key == customer_id.as_bytes() {
                past.changes.extend(told(&mut reader, &record));
            }
        }
        past.changes.reverse();
        past.changes.truncate(limit);
        Ok(past)
    }

    /// Gives `each` what was committed between two places, in order for each partition, until it breaks off. `gap` is
    /// told when some of it is not there any more. Waits for the broker.
    ///
    /// # Errors
    /// When the broker refuses, or when the process is to end.
    pub fn between(
        &self,
        from: &Place,
        to: &Place,
        mut gap: impl FnMut(),
        mut each: impl FnMut(Told) -> std::ops::ControlFlow<()>,
    ) -> Result<(), KafkaError> {
        let tail = Tail::connect(&self.0.clients, &self.0.topic)?;
        let mut reader = self.0.reader()?;
        let extents = patiently(&self.0.stop, || tail.extents(), |_| {})?;
        let mut place: Place = from.clone();
        place.resize(to.len(), 0);
        for (next, extent) in place.iter_mut().zip(&extents) {
            if *next < extent.low {
                *next = extent.low;
                gap();
            }
        }
        tail.start(&place)?;
        while place.iter().zip(to).any(|(next, end)| next < end) && !self.is_ending() {
            let Some(record) = tail.poll(POLL)? else {
                place = tail.positions(&place);
                continue;
            };
            let end = to.get(record.partition).copied().unwrap_or_default();
            if let Some(next) = place.get_mut(record.partition) {
                *next = record.offset + 1;
            }
            // What lies past the end comes live.
            if record.offset < end
                && let Some(told) = told(&mut reader, &record)
                && each(told).is_break()
            {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What is live, begun if it was not.
    fn live(&self) -> Result<MutexGuard<'_, Option<Live>>, KafkaError> {
        let mut live = self.0.lock();
        if live.is_none() {
            let (tail, place, born) = self.0.begin()?;
            let (sender, _) = broadcast::channel(BEHIND_MAX);
            *live = Some(Live { sender, place: place.clone(), born, recent: VecDeque::new(), used_at: now() });
            let shared = self.0.clone();
            let thread = std::thread::Builder::new().name("feed".into());
            let started = thread.spawn(move || shared.read(&tail, place));
            if let Err(error) = started {
                *live = None;
                return Err(KafkaError::Settings(format!("no thread to follow changes: {error}")));
            }
        }
        if let Some(live) = live.as_mut() {
            live.used_at = now();
        }
        Ok(live)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reader that will tell the latest changes, where it begins, and where the topic ends now.
    fn begin(&self) -> Result<(Tail, Place, Place), KafkaError> {
        let tail = Tail::connect(&self.clients, &self.topic)?;
        let extents = tail.extents()?;
        let share = i64::try_from(RECENT / extents.len().max(1)).unwrap_or_default();
        let place: Place = extents.iter().map(|extent| extent.low.max(extent.high - share)).collect();
        tail.start(&place)?;
        Ok((tail, place, extents.iter().map(|extent| extent.high).collect()))
    }

    fn reader(&self) -> Result<Changes, KafkaError> {
        let reader = Changes::new(self.registry.clone(), self.stop.clone());
        reader.map_err(|error| KafkaError::Settings(error.to_string()))
    }

    fn read(&self, tail: &Tail, mut place: Place) {
        let Ok(mut reader) = self.reader() else { return };
        while !self.stop.is_requested() {
            let record = match tail.poll(POLL) {
                Ok(record) => record,
                Err(error) => {
                    tracing::warn!(%error, "following the changes");
                    break;
                }
            };
            // Before others are kept waiting: it may have to wait for the registry.
            let told = record.as_ref().and_then(|record| told(&mut reader, record));
            let mut live = self.lock();
            let Some(live) = live.as_mut() else { return };
            if let Some(record) = record {
                if let Some(next) = place.get_mut(record.partition) {
                    *next = record.offset + 1;
                }
                live.place.clone_from(&place);
                if let Some(told) = told {
                    live.take(Arc::new(told));
                }
            } else if live.sender.receiver_count() == 0 && since(live.used_at) > LINGER {
                break;
            }
        }
        // Whoever follows finds the channel closed, and comes again.
        *self.lock() = None;
    }
}

impl Live {
    fn take(&mut self, told: Arc<Told>) {
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(told.clone());
        // Nobody may be following.
        let _ = self.sender.send(told);
    }
}

fn told(reader: &mut Changes, record: &Record) -> Option<Told> {
    match reader.read(&record.value) {
        Ok(change) => Some(Told { partition: record.partition, offset: record.offset, change }),
        Err(error) => {
            tracing::warn!(%error, partition = record.partition, offset = record.offset, "following the changes");
            None
        }
    }
}
