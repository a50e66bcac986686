//! Asking the workers of this process, and which partitions their answers speak for.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::worker::query::{Answer, Question};

use super::Sources;
use super::problem::Problem;

/// A worker looks for questions between two batches; one that does not within this is restoring or waits.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What the workers of this process answered.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) answers: Vec<Answer>,
    /// The partitions that were looked into. Of the others nothing is known here.
    pub(super) partitions: BTreeSet<i32>,
}

impl Sources {
    /// Asks all workers. One that does not answer in time leaves its partitions out.
    pub(super) async fn ask_all(&self, question: &Question) -> Result<Answers, Problem> {
        let mut pending = Vec::new();
        for asker in self.askers.get().into_iter().flatten() {
            let (sender, receiver) = oneshot::channel();
            // Nobody is left to reply to when the request has ended meanwhile.
            let reply = move |answer| drop(sender.send(answer));
            if asker.ask(question.clone(), reply) {
                pending.push(receiver);
            }
        }
        let mut answers = Answers::default();
        let deadline = tokio::time::Instant::now() + ANSWER_WITHIN;
        for receiver in pending {
            let Ok(Ok(reply)) = tokio::time::timeout_at(deadline, receiver).await else { continue };
            if let Answer::Failed(error) = reply.answer {
                return Err(Problem::internal(error));
            }
            answers.partitions.extend(reply.partitions);
            answers.answers.push(reply.answer);
        }
        Ok(answers)
    }

    /// How many partitions there are; 0 before it is known.
    pub(super) fn partition_count(&self) -> i32 {
        self.status.workers().iter().map(|state| state.n_partitions).max().unwrap_or_default()
    }

    /// Those of all partitions that are not among these.
    pub(super) fn missing(&self, partitions: &BTreeSet<i32>) -> Vec<i32> {
        (0..self.partition_count()).filter(|number| !partitions.contains(number)).collect()
    }

    /// Whether these are all the partitions there are.
    pub(super) fn is_all(&self, partitions: &BTreeSet<i32>) -> bool {
        self.partition_count() > 0 && self.missing(partitions).is_empty()
    }

    /// The partitions that are at work here.
    pub(super) fn own_partitions(&self) -> BTreeSet<i32> {
        let workers = self.status.workers();
        let owned = workers.iter().flat_map(|state| state.owned.iter().filter(|n| !state.restoring.contains(n)));
        owned.copied().collect()
    }
}
