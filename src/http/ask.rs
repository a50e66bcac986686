//! Asking all workers at once, and what their answers amount to.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::worker::query::{Answer, Question};

use super::Sources;
use super::problem::Problem;

/// A worker looks for questions between two batches; one that does not within this is restoring or waits.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

impl Sources {
    /// The answers of all workers.
    pub(super) async fn ask_all(&self, question: &Question) -> Result<Vec<Answer>, Problem> {
        let mut pending = Vec::new();
        for asker in self.askers.get().ok_or_else(Problem::no_answer)? {
            let (sender, receiver) = oneshot::channel();
            // Nobody is left to reply to when the request has ended meanwhile.
            let reply = move |answer| drop(sender.send(answer));
            if !asker.ask(question.clone(), reply) {
                return Err(Problem::no_answer());
            }
            pending.push(receiver);
        }
        let mut answers = Vec::new();
        for receiver in pending {
            let answer = tokio::time::timeout(ANSWER_WITHIN, receiver).await;
            match answer {
                Ok(Ok(Answer::Failed(error))) => return Err(Problem::internal(error)),
                Ok(Ok(answer)) => answers.push(answer),
                Ok(Err(_)) | Err(_) => return Err(Problem::no_answer()),
            }
        }
        Ok(answers)
    }

    /// The answer of the worker that has the customer. Unknown is only who no process can have.
    pub(super) async fn ask_about(&self, customer_id: &str, question: &Question) -> Result<Answer, Problem> {
        let owned_all = self.status.owns_all();
        let answers = self.ask_all(question).await?;
        match answers.into_iter().find(|answer| *answer != Answer::NotHere) {
            Some(answer) => Ok(answer),
            None if owned_all && self.status.owns_all() => Err(Problem::unknown_customer(customer_id)),
            None => Err(Problem::held_elsewhere()),
        }
    }
}
