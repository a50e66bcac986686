//! Questions about customers, and their answers: those who ask do not know which worker has whom, and those who answer do
//! not know who asks.

use std::sync::mpsc::{Receiver, Sender, channel};

use crate::engine::catalog::{Catalog, SegmentId};
use crate::engine::customer::{Customer, find};
use crate::engine::explain::Explanation;
use crate::engine::value::Value;
pub use crate::partition::Receipt;
use crate::partition::{Partition, customer_id_of};
use crate::store::{Store, StoreError};
use crate::wire::customer::encode;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// What is known of a customer.
    Customer {
        /// Who.
        customer_id: String,
    },
    /// When a customer was erased last.
    Erasure {
        /// Who.
        customer_id: String,
    },
    /// Why a customer is in a segment, or is not.
    Explain {
        /// Who.
        customer_id: String,
        /// Which segment; all of them otherwise.
        segment: Option<String>,
    },
    /// The members of a segment, in order of their ids, as far as a look at a bounded number of customers shows.
    Members {
        /// Which segment.
        segment: String,
        /// Only those whose id comes after this.
        after: Option<String>,
        /// At most so many.
        limit: usize,
    },
    /// The first customers of each partition, as they are stored.
    Sample {
        /// At most so many of each partition.
        limit: usize,
    },
}

/// A worker's answer, and for which partitions it speaks.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The partitions it looked into.
    pub partitions: Vec<i32>,
    /// What it found there.
    pub answer: Answer,
}

/// What one worker knows.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// No partition here has that customer.
    NotHere,
    /// What is known of the customer.
    Customer(Box<CustomerView>),
    /// That they were erased.
    Erased(Receipt),
    /// Segments by name, explained.
    Explained {
        /// The instant of the explanation, milliseconds since the epoch.
        at: i64,
        /// By segment, in the order of the catalog.
        explanations: Vec<(String, Explanation)>,
    },
    /// Some members.
    Members(MemberPage),
    /// Customers by id, as they are stored.
    Sample(Vec<(String, Vec<u8>)>),
    /// The store failed.
    Failed(String),
}

/// What is known of a customer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CustomerView {
    /// Who.
    pub customer_id: String,
    /// The latest instant of their events and flips, milliseconds since the epoch.
    pub own_time: Option<i64>,
    /// How many changes they have had.
    pub sequence: u64,
    /// Known profile traits by name.
    pub profile: Vec<(String, Value)>,
    /// Computed traits by name, unknown ones included.
    pub traits: Vec<(String, Value)>,
    /// Segments they are in, and since when, milliseconds since the epoch.
    pub memberships: Vec<(String, i64)>,
    /// Purposes that segments name, and whether the customer consented.
    pub consents: Vec<(String, bool)>,
}

/// Members of a segment, in order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberPage {
    /// Ids, and since when they are members, milliseconds since the epoch.
    pub members: Vec<(String, i64)>,
    /// All members up to this id are among them, and the look may go on after it; `None` when there are no more.
    pub until: Option<String>,
}

impl MemberPage {
    /// One page of several, of customers that live in different places: what all of them have looked at.
    pub fn merged(pages: impl IntoIterator<Item = Self>, limit: usize) -> Self {
        let mut merged = Self::default();
        for page in pages {
            merged.members.extend(page.members);
            merged.until = [merged.until, page.until].into_iter().flatten().min();
        }
        if let Some(until) = &merged.until {
            merged.members.retain(|(customer_id, _)| customer_id <= until);
        }
        merged.members.sort();
        if merged.members.len() > limit {
            merged.members.truncate(limit);
            merged.until = merged.members.last().map(|(customer_id, _)| customer_id.clone());
        }
        merged
    }
}

/// A question on its way to a worker.
pub struct Query {
    question: Question,
    reply: Box<dyn FnOnce(Reply) + Send>,
}

/// The asking end: one for each worker.
#[derive(Debug, Clone)]
pub struct Asker(Sender<Query>);

/// The answering end, held by the worker, who looks into it between two batches.
#[derive(Debug)]
pub struct Inbox(Receiver<Query>);

/// Makes the two ends.
pub fn ends() -> (Asker, Inbox) {
    let (sender, receiver) = channel();
    (Asker(sender), Inbox(receiver))
}

impl Asker {
    /// Asks; `reply` is called from the worker's thread. Whether the worker is there to answer.
    pub fn ask(&self, question: Question, reply: impl FnOnce(Reply) + Send + 'static) -> bool {
        self.0.send(Query { question, reply: Box::new(reply) }).is_ok()
    }
}

impl Inbox {
    /// Answers what has been asked, from the worker's partitions. `now` is the wall clock, milliseconds since the epoch.
    pub fn answer<'p, S: Store + 'p>(&self, partitions: impl Iterator<Item = (i32, &'p mut Partition<S>)>, now: i64) {
        let mut queries = self.0.try_iter().peekable();
        if queries.peek().is_none() {
            return;
        }
        let (numbers, mut partitions): (Vec<_>, Vec<_>) = partitions.unzip();
        for query in queries {
            let answer = answer(&query.question, &mut partitions, now);
            (query.reply)(Reply { partitions: numbers.clone(), answer });
        }
    }
}

/// What one partition has to say to a question, for whoever holds it. `now` is the wall clock, milliseconds since the epoch.
pub fn ask_one<S: Store>(question: &Question, partition: &mut Partition<S>, now: i64) -> Answer {
    answer(question, &mut [partition], now)
}

fn answer<S: Store>(question: &Question, partitions: &mut [&mut Partition<S>], now: i64) -> Answer {
    let answered = match question {
        Question::Customer { customer_id } => first_with(partitions, customer_id, |partition, customer| {
            Answer::Customer(Box::new(view(partition, customer_id, customer, now)))
        }),
        Question::Erasure { customer_id } => erasure(partitions, customer_id),
        Question::Explain { customer_id, segment } => first_with(partitions, customer_id, |partition, customer| {
            explain(partition, customer_id, customer, segment.as_deref(), now)
        }),
        Question::Members { segment, after, limit } => members(partitions, segment, after.as_deref(), *limit),
        Question::Sample { limit } => sample(partitions, *limit),
    };
    answered.unwrap_or_else(|error| Answer::Failed(error.to_string()))
}

fn first_with<S: Store>(
    partitions: &mut [&mut Partition<S>],
    customer_id: &str,
    mut tell: impl FnMut(&mut Partition<S>, &Customer) -> Answer,
) -> Result<Answer, StoreError> {
    for partition in partitions {
        if let Some(customer) = partition.customer(customer_id)? {
            return Ok(tell(partition, &customer));
        }
    }
    Ok(Answer::NotHere)
}

fn erasure<S: Store>(partitions: &mut [&mut Partition<S>], customer_id: &str) -> Result<Answer, StoreError> {
    for partition in partitions {
        if let Some(receipt) = partition.erasure(customer_id)? {
            return Ok(Answer::Erased(receipt));
        }
    }
    Ok(Answer::NotHere)
}

fn view<S: Store>(partition: &mut Partition<S>, customer_id: &str, customer: &Customer, now: i64) -> CustomerView {
    let catalog = partition.catalog().clone();
    let now = customer.own_time.unwrap_or(now).max(now);
    let traits = catalog.traits.iter().map(|computed| {
        (computed.name.clone(), partition.engine().value_of(customer_id, customer, computed.node, now))
    });
    CustomerView {
        customer_id: customer_id.to_owned(),
        own_time: customer.own_time,
        sequence: customer.sequence,
        traits: traits.collect(),
        profile: profile(&catalog, customer),
        memberships: memberships(&catalog, customer),
        consents: consents(&catalog, customer),
    }
}

fn profile(catalog: &Catalog, customer: &Customer) -> Vec<(String, Value)> {
    let value = |key| find(&customer.profile, key).map(|dated| dated.value.clone());
    let declared = catalog.profile_traits.iter();
    let set = declared.filter_map(|declared| Some((declared.name.clone(), value(declared.key)?)));
    set.filter(|(_, value)| value.is_known()).collect()
}

fn memberships(catalog: &Catalog, customer: &Customer) -> Vec<(String, i64)> {
    let standings = catalog.segments.iter().map(|segment| (segment, customer.standing(segment.key)));
    standings
        .filter(|(_, standing)| standing.member)
        .map(|(segment, standing)| (segment.name.clone(), standing.since))
        .collect()
}

fn consents(catalog: &Catalog, customer: &Customer) -> Vec<(String, bool)> {
    let granted = |key| find(&customer.consents, key).is_some_and(|dated| dated.value);
    catalog.purposes.iter().map(|purpose| (purpose.name.clone(), granted(purpose.key))).collect()
}

fn explain<S: Store>(
    partition: &mut Partition<S>,
    customer_id: &str,
    customer: &Customer,
    segment: Option<&str>,
    now: i64,
) -> Answer {
    let catalog = partition.catalog().clone();
    let at = customer.own_time.unwrap_or(now).max(now);
    let ids = (0..).map(SegmentId).zip(&catalog.segments);
    let asked = ids.filter(|(_, known)| segment.is_none_or(|segment| known.name == segment));
    let asked: Vec<SegmentId> = asked.map(|(id, _)| id).collect();
    let explained = partition.engine().explain(customer_id, customer, &asked, at).into_iter();
    let named = explained.filter_map(|one| Some((catalog.segments.get(one.segment.index())?.name.clone(), one)));
    Answer::Explained { at, explanations: named.collect() }
}

/// Members as they were committed, among a bounded number of customers of each partition, so that no look takes long.
fn members<S: Store>(
    partitions: &mut [&mut Partition<S>],
    segment: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Answer, StoreError> {
    const LOOKED_AT: usize = 2_000;
    let mut pages = Vec::new();
    for partition in partitions {
        let known = partition.catalog().segments.iter().find(|known| known.name == segment);
        let Some(key) = known.map(|known| known.key) else { continue };
        let after = after.map(crate::partition::key_of);
        let customers = partition.scan(after.as_deref(), LOOKED_AT)?;
        let mut page = MemberPage {
            until: customers.next.as_deref().and_then(customer_id_of).map(str::to_owned),
            ..MemberPage::default()
        };
        for (customer_key, customer) in &customers.customers {
            let Some(customer_id) = customer_id_of(customer_key) else { continue };
            let standing = customer.standing(key);
            if standing.member {
                page.members.push((customer_id.to_owned(), standing.since));
            }
        }
        pages.push(page);
    }
    Ok(Answer::Members(MemberPage::merged(pages, limit)))
}

fn sample<S: Store>(partitions: &mut [&mut Partition<S>], limit: usize) -> Result<Answer, StoreError> {
    let mut customers = Vec::new();
    for partition in partitions {
        let page = partition.scan(None, limit)?.customers.into_iter().take(limit);
        // Whoever was erased just now may still be among them.
        let known = page.filter(|(_, customer)| customer.own_time.is_some());
        customers
            .extend(known.filter_map(|(key, customer)| Some((customer_id_of(&key)?.to_owned(), encode(&customer)))));
    }
    Ok(Answer::Sample(customers))
}
