//! However the fetches of a backlog interleave, what comes out is the same.

use proptest::prelude::*;

use super::*;

/// A broker with a backlog: per topic the instants of its records, and how far each was fetched.
struct Backlog {
    topics: Vec<Vec<i64>>,
    fetched: Vec<usize>,
}

impl Backlog {
    fn fetch(&mut self, merge: &mut Merge<(usize, usize)>, topic: usize, count: usize) {
        let upto = (self.fetched[topic] + count).min(self.topics[topic].len());
        for offset in self.fetched[topic]..upto {
            let instant = self.topics[topic][offset];
            merge.push(topic, i64::try_from(offset).unwrap(), (topic, offset), |_| instant);
        }
        self.fetched[topic] = upto;
    }

    fn tell_ends(&self, merge: &mut Merge<(usize, usize)>, now: i64) {
        for lane in merge.empty_lanes().collect::<Vec<_>>() {
            merge.end(lane, i64::try_from(self.topics[lane].len()).unwrap(), now);
        }
    }
}

/// The merge of whole topics: always the least first record.
fn expected(topics: &[Vec<i64>]) -> Vec<(usize, usize)> {
    let mut taken = vec![0; topics.len()];
    let mut order = Vec::new();
    while let Some((_, topic)) =
        (0..topics.len()).filter_map(|topic| Some((*topics[topic].get(taken[topic])?, topic))).min()
    {
        order.push((topic, taken[topic]));
        taken[topic] += 1;
    }
    order
}

proptest! {
    #[test]
    fn fetches_do_not_matter(
        topics in prop::collection::vec(prop::collection::vec(0..50_i64, 0..30), 1..5),
        fetches in prop::collection::vec((any::<prop::sample::Index>(), 1..7_usize), 1..40),
    ) {
        let expected = expected(&topics);
        let mut merge = Merge::new(topics.iter().map(|_| 0));
        let mut backlog = Backlog { fetched: vec![0; topics.len()], topics };
        let mut fetches = fetches.iter().cycle();
        let mut order = Vec::new();
        loop {
            match merge.next(|_| i64::MIN) {
                Next::Take(lane) => {
                    let instant_of = |record: &mut (usize, usize)| backlog.topics[record.0][record.1];
                    order.push(merge.take(lane, instant_of).unwrap());
                }
                Next::AskEnd => backlog.tell_ends(&mut merge, 0),
                Next::Drained => break,
                Next::Fetch => {
                    let (topic, count) = fetches.next().unwrap();
                    let topic = topic.index(backlog.topics.len());
                    backlog.fetch(&mut merge, topic, *count);
                    // The fetch that is waited for comes in the end.
                    if merge.next(|_| i64::MIN) == Next::Fetch {
                        (0..backlog.topics.len()).for_each(|topic| backlog.fetch(&mut merge, topic, 1));
                    }
                }
            }
        }
        prop_assert_eq!(order, expected);
    }
}

#[test]
fn an_empty_lane_is_waited_for_only_while_the_broker_holds_more() {
    let mut merge = Merge::new([0, 7]);
    assert_eq!(merge.next(|()| 0), Next::AskEnd, "nothing is known yet");
    merge.push(0, 0, (), |()| 100);
    assert_eq!(merge.next(|()| 0), Next::AskEnd, "the second lane's end is not known");
    merge.end(1, 9, 5);
    assert_eq!(merge.next(|()| 0), Next::Fetch, "it has two more");
    merge.push(1, 7, (), |()| 200);
    assert_eq!(merge.next(|()| 0), Next::Take(0));
    merge.take(0, |()| 0);
    merge.end(0, 1, 5);
    assert_eq!(merge.next(|()| 0), Next::Take(1), "the first lane has ended");
    merge.take(1, |()| 0);
    merge.skip_to(1, 9);
    assert_eq!(merge.next(|()| 0), Next::Drained, "what is left is no record");
    merge.push(0, 1, (), |()| 300);
    assert_eq!(merge.next(|()| 5), Next::Take(0), "news of the end is recent enough");
    assert_eq!(merge.next(|()| 6), Next::AskEnd, "it is too old for this record");
    merge.end(1, 9, 6);
    assert_eq!(merge.next(|()| 6), Next::Take(0));
}
