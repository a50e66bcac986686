//! What one who follows is told, and what becomes of one who is too slow.

use serde_json::Map;
use tokio::sync::broadcast;

use super::*;

fn told(partition: usize, offset: i64, customer_id: &str) -> Arc<Told> {
    let change = json!({"customer_id": customer_id, "segment": "vip"});
    Arc::new(Told { partition, offset, change: change.as_object().cloned().unwrap_or_else(Map::new) })
}

fn follower(customer: Option<&str>, capacity: usize) -> (Follower, tokio::sync::mpsc::Receiver<Event>) {
    let (events, receiver) = channel(capacity + 1);
    let last = events.clone().try_reserve_owned().ok();
    let which = Which { segment: None, customer: customer.map(str::to_owned), after: None };
    let one_of_many = streams().try_acquire_owned().unwrap();
    let feed = Feed::of_nobody();
    (
        Follower {
            feed,
            which,
            events,
            place: vec![5, 0],
            patience: Duration::from_millis(50),
            last,
            _one_of_many: one_of_many,
        },
        receiver,
    )
}

fn text(event: &Event) -> String {
    format!("{event:?}")
}

#[tokio::test]
async fn each_change_is_told_once_with_the_place_after_it() {
    let (mut follower, mut receiver) = follower(Some("ada"), 8);
    for change in [told(0, 4, "ada"), told(0, 5, "ada"), told(1, 9, "ben"), told(0, 6, "ada"), told(0, 6, "ada")] {
        follower.tell(&change).await.unwrap();
    }
    let first = text(&receiver.recv().await.unwrap());
    assert!(first.contains("id: 6.0"), "{first}");
    let second = text(&receiver.recv().await.unwrap());
    assert!(second.contains("id: 7.10"), "what was left out is passed as well: {second}");
    assert!(receiver.try_recv().is_err());
}

#[tokio::test]
async fn who_takes_nothing_is_dropped_and_told_why() {
    let (mut follower, mut receiver) = follower(None, 2);
    let (sender, mut live) = broadcast::channel(16);
    for offset in 5..10 {
        drop(sender.send(told(0, offset, "ada")));
    }
    let end = follower.live(&mut live).await;
    assert_eq!(end, Some(End::TooSlow));
    follower.say_why(End::TooSlow);
    drop(follower);
    let mut events = Vec::new();
    while let Some(event) = receiver.recv().await {
        events.push(text(&event));
    }
    assert_eq!(events.len(), 3, "{events:?}");
    assert!(events[2].contains("event: end") && events[2].contains("too slow"), "{events:?}");
}

#[tokio::test]
async fn who_falls_behind_the_others_is_dropped() {
    let (mut follower, _receiver) = follower(None, 64);
    let (sender, mut live) = broadcast::channel(4);
    for offset in 5..15 {
        drop(sender.send(told(0, offset, "ada")));
    }
    assert_eq!(follower.live(&mut live).await, Some(End::TooSlow));
}

#[test]
fn ids_are_places() {
    for place in [vec![0], vec![3, 0, i64::MAX]] {
        assert_eq!(place_in(&id_of(&place)), Some(place));
    }
    for id in ["", "x", "1..2", "-1", "1.x", "99999999999999999999"] {
        assert_eq!(place_in(id), None, "{id}");
    }
}
