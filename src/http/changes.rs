//! The changes of all customers as they are committed: a stream of server-sent events to follow, and the latest of them.
//!
//! The id of an event is the place after it: for each partition of the topic of changes, the offset of the next. Who comes
//! back with it gets what they missed, once each, from any process.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::{OwnedPermit, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::worker::feed::{Feed, Following, Past, Place, Told};

use super::problem::Problem;
use super::{Shared, customers, segments};

/// Streams at a time.
pub(super) const STREAMS_MAX: usize = 64;
/// Events on their way to one who follows.
const AHEAD: usize = 64;
/// Who takes nothing for this long is too slow.
const SLOW: Duration = Duration::from_secs(15);
/// A stream that has nothing to tell says where it is, so that the connection is seen to be alive.
const HEARTBEAT: Duration = Duration::from_secs(10);
const RECENT_DEFAULT: usize = 100;
const RECENT_MAX: usize = 1_000;

/// Which changes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    segment: Option<String>,
    customer: Option<String>,
    /// The id of the last event seen, for who cannot send the header.
    after: Option<String>,
}

/// Which of the latest changes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Latest {
    segment: Option<String>,
    customer: Option<String>,
    limit: Option<usize>,
}

/// How many of a customer's latest changes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Theirs {
    limit: Option<usize>,
}

/// One who follows.
struct Follower {
    feed: Feed,
    which: Which,
    events: Sender<Event>,
    /// Where they are.
    place: Place,
    /// They are too slow when they take nothing for this long.
    patience: Duration,
    /// Kept for the reason why the stream ends.
    last: Option<OwnedPermit<Event>>,
    /// Kept while the stream lasts.
    _one_of_many: OwnedSemaphorePermit,
}

/// Why a stream ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// They have gone.
    Gone,
    /// The process is ending: they come again, here or elsewhere.
    Stopping,
    /// They take too long.
    TooSlow,
    /// The broker does not answer.
    Broker(String),
}

/// `GET /v1/changes?segment=&customer=&after=`
pub(super) async fn follow(
    State(shared): State<Shared>,
    headers: HeaderMap,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(which) = which.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    if let Some(segment) = &which.segment {
        segments::must_exist(&shared, segment)?;
    }
    let header = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?").to_owned());
    let after = header.or_else(|| which.after.clone()).filter(|id| !id.is_empty());
    let after = after.map(|id| place_in(&id).ok_or_else(|| Problem::bad_request(bad_id(&id)))).transpose()?;
    let one_of_many = shared.streams.clone().try_acquire_owned().map_err(|_| Problem::too_many_streams())?;
    let feed = feed_of(&shared)?;
    let following = following(&feed).await?;
    if let Some(after) = &after
        && after.len() != following.place.len()
    {
        let detail =
            format!("the last event id names {} partitions, and there are {}", after.len(), following.place.len());
        return Err(Problem::bad_request(detail));
    }
    let (events, receiver) = channel(AHEAD + 1);
    let last = events.clone().reserve_owned().await.ok();
    let place = after.unwrap_or_else(|| following.place.clone());
    let follower = Follower { feed, which, events, place, patience: SLOW, last, _one_of_many: one_of_many };
    tokio::spawn(follower.run(following));
    let told = stream::unfold(receiver, |mut receiver| async {
        let event = receiver.recv().await?;
        Some((Ok::<_, Infallible>(event), receiver))
    });
    let headers = [(header::CACHE_CONTROL, "no-store"), (header::HeaderName::from_static("x-accel-buffering"), "no")];
    Ok((headers, Sse::new(told)).into_response())
}

/// `GET /v1/changes/recent?segment=&customer=&limit=`
pub(super) async fn recent(
    State(shared): State<Shared>,
    which: Result<Query<Latest>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(which) = which.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    if let Some(segment) = &which.segment {
        segments::must_exist(&shared, segment)?;
    }
    let limit = limit_of(which.limit)?;
    let recent = ask(feed_of(&shared)?, Feed::recent).await?;
    let mut told: Vec<&Arc<Told>> = recent.iter().collect();
    // Partitions are read one after the other: in order of time, the latest first.
    told.sort_by(|a, b| (b.text("at"), b.offset).cmp(&(a.text("at"), a.offset)));
    let since = told.last().map(|told| told.text("at"));
    let of = told.iter().filter(|told| told.is_of(which.segment.as_deref(), which.customer.as_deref()));
    let changes: Vec<_> = of.take(limit).map(|told| &told.change).collect();
    Ok(Json(json!({"looked_at": recent.len(), "since": since, "changes": changes})))
}

/// `GET /v1/customers/{id}/changes?limit=`
pub(super) async fn of_customer(
    State(shared): State<Shared>,
    id: customers::Id,
    which: Result<Query<Theirs>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let customer_id = customers::customer_id(id)?;
    let Query(Theirs { limit }) = which.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let limit = limit_of(limit)?;
    let past = ask(feed_of(&shared)?, move |feed| feed.of_customer(&customer_id, limit)).await?;
    let Past { changes, looked_at, oldest } = past;
    let since = oldest.as_ref().map(|oldest| oldest.text("at"));
    let changes: Vec<_> = changes.into_iter().map(|told| told.change).collect();
    Ok(Json(json!({"looked_at": looked_at, "since": since, "changes": changes})))
}

fn limit_of(limit: Option<usize>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(RECENT_DEFAULT);
    if (1..=RECENT_MAX).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::bad_request(format!("`limit` must be between 1 and {RECENT_MAX}")))
    }
}

fn feed_of(shared: &Shared) -> Result<Feed, Problem> {
    shared.sources.feed.get().cloned().ok_or_else(Problem::no_answer)
}

/// Asks the feed, which may wait for the broker, on a thread that may.
async fn ask<T: Send + 'static, E: ToString + Send + 'static>(
    feed: Feed,
    question: impl FnOnce(&Feed) -> Result<T, E> + Send + 'static,
) -> Result<T, Problem> {
    let answer = tokio::task::spawn_blocking(move || question(&feed)).await;
    let answer = answer.map_err(|_| Problem::internal("reading the changes failed"))?;
    answer.map_err(|error| Problem::broker(error.to_string()))
}

async fn following(feed: &Feed) -> Result<Following, Problem> {
    ask(feed.clone(), Feed::follow).await
}

impl Follower {
    async fn run(mut self, mut following: Following) {
        // The place at once: who is cut off before the first change comes back to it.
        let hello = Event::default().id(id_of(&self.place)).retry(Duration::from_secs(2)).comment("following");
        let mut end = if self.events.send(hello).await.is_ok() { None } else { Some(End::Gone) };
        while end.is_none() {
            end = match self.catch_up(&following).await {
                Some(end) => Some(end),
                None => self.live(&mut following.receiver).await,
            };
            if end.is_none() {
                // The channel was closed, or ran full while older changes were read.
                match self::following(&self.feed).await {
                    Ok(again) => following = again,
                    Err(_) if self.feed.is_ending() => end = Some(End::Stopping),
                    Err(_) => end = Some(End::Broker("the broker does not answer".to_owned())),
                }
            }
        }
        self.say_why(end.unwrap_or(End::Gone));
    }

    /// The last event of a stream that we end.
    fn say_why(&mut self, end: End) {
        let reason = match end {
            End::Gone => return,
            End::Stopping => "this process is ending: come again".to_owned(),
            End::TooSlow => format!(
                "too slow: nothing was taken for {} seconds, or too much was waiting; come again with the last event id",
                SLOW.as_secs()
            ),
            End::Broker(error) => error,
        };
        if let Some(last) = self.last.take() {
            last.send(Event::default().event("end").data(json!({"reason": reason}).to_string()));
        }
    }

    /// Tells what was committed before the live changes begin. `None` when that is done.
    async fn catch_up(&mut self, following: &Following) -> Option<End> {
        if self.place.iter().zip(&following.place).all(|(next, live)| next >= live) {
            return None;
        }
        let (feed, from, to) = (self.feed.clone(), self.place.clone(), following.place.clone());
        let (found, mut missed) = channel(AHEAD);
        let reading = tokio::task::spawn_blocking(move || {
            let gap = || drop(found.blocking_send(None));
            feed.between(&from, &to, gap, |told| match found.blocking_send(Some(told)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            })
        });
        while let Some(told) = missed.recv().await {
            let sent = match told {
                Some(told) => self.tell(&told).await,
                None => self.send(gap()).await,
            };
            if let Err(end) = sent {
                return Some(end);
            }
        }
        match reading.await {
            Ok(Ok(())) if self.feed.is_ending() => Some(End::Stopping),
            Ok(Ok(())) => {
                for (next, live) in self.place.iter_mut().zip(&following.place) {
                    *next = (*next).max(*live);
                }
                None
            }
            Ok(Err(error)) => Some(End::Broker(error.to_string())),
            Err(_) => Some(End::Broker("reading the changes failed".to_owned())),
        }
    }

    /// Tells what comes. `None` when the channel has to be joined anew.
    async fn live(&mut self, receiver: &mut Receiver<Arc<Told>>) -> Option<End> {
        loop {
            let events = self.events.clone();
            let told = tokio::select! {
                told = receiver.recv() => told,
                () = events.closed() => return Some(End::Gone),
                () = tokio::time::sleep(HEARTBEAT) => {
                    let beat = Event::default().id(id_of(&self.place)).comment("alive");
                    match self.send(beat).await {
                        Err(end) => return Some(end),
                        Ok(()) if self.feed.is_ending() => return Some(End::Stopping),
                        Ok(()) => continue,
                    }
                }
            };
            match told {
                Ok(told) => {
                    if let Err(end) = self.tell(&told).await {
                        return Some(end);
                    }
                }
                Err(RecvError::Lagged(_)) => return Some(End::TooSlow),
                Err(RecvError::Closed) => return self.feed.is_ending().then_some(End::Stopping),
            }
        }
    }

    /// Tells a change, if they asked for such.
    async fn tell(&mut self, told: &Told) -> Result<(), End> {
        let Some(next) = self.place.get_mut(told.partition) else { return Ok(()) };
        if told.offset < *next {
            return Ok(());
        }
        *next = told.offset + 1;
        if !told.is_of(self.which.segment.as_deref(), self.which.customer.as_deref()) {
            return Ok(());
        }
        let data = Value::Object(told.change.clone()).to_string();
        self.send(Event::default().id(id_of(&self.place)).event("change").data(data)).await
    }

    async fn send(&self, event: Event) -> Result<(), End> {
        match tokio::time::timeout(self.patience, self.events.send(event)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::TooSlow),
        }
    }
}

fn gap() -> Event {
    let reason = "some changes after the last event id are not kept any more";
    Event::default().event("gap").data(json!({"reason": reason}).to_string())
}

/// As many streams as there may be.
pub(super) fn streams() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(STREAMS_MAX))
}

fn id_of(place: &Place) -> String {
    place.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
}

fn place_in(id: &str) -> Option<Place> {
    id.split('.').map(|offset| offset.parse().ok().filter(|offset| *offset >= 0)).collect()
}

fn bad_id(id: &str) -> String {
    let shown: String = id.chars().take(40).collect();
    format!("`{shown}` is no id of an event of this stream")
}

#[cfg(test)]
mod tests;
