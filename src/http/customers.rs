//! One customer: what is known of them, and why they are where they are. Whichever process has them is found.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::worker::query::{Answer, Question};

use super::peers::{Asked, Local, LocalJson, gap};
use super::problem::Problem;
use super::{Shared, api, segments};

/// A partition may be on its way from one process to another: so often, and after this, it is looked for again.
const TRIES: u32 = 3;
const AGAIN: Duration = Duration::from_millis(300);
/// No customer id is longer, bytes.
const ID_BYTES_MAX: usize = 4_096;

/// The customer of a path.
pub(super) type Id = Result<Path<String>, PathRejection>;

/// What `explain` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    segment: Option<String>,
}

/// What `show` and `erasure` take.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// No query, or that there is one.
pub(super) type NoQuery = Result<Query<Nothing>, QueryRejection>;

/// `GET /v1/customers/{id}`
pub(super) async fn show(
    State(shared): State<Shared>,
    id: Id,
    nothing: NoQuery,
    asked: Asked,
) -> Result<LocalJson, Local<Problem>> {
    let customer_id = only_id(id, nothing)?;
    let question = Question::Customer { customer_id: customer_id.clone() };
    find(&shared, &asked, &customer_id, &question, Problem::unknown_customer).await
}

/// `GET /v1/customers/{id}/erasure`
pub(super) async fn erasure(
    State(shared): State<Shared>,
    id: Id,
    nothing: NoQuery,
    asked: Asked,
) -> Result<LocalJson, Local<Problem>> {
    let customer_id = only_id(id, nothing)?;
    let question = Question::Erasure { customer_id: customer_id.clone() };
    find(&shared, &asked, &customer_id, &question, Problem::not_erased).await
}

/// `GET /v1/customers/{id}/explain?segment=`
pub(super) async fn explain(
    State(shared): State<Shared>,
    id: Id,
    which: Result<Query<Which>, QueryRejection>,
    asked: Asked,
) -> Result<LocalJson, Local<Problem>> {
    let customer_id = customer_id(id).map_err(nowhere)?;
    let which = which.map_err(|rejection| nowhere(Problem::bad_request(rejection.body_text())))?;
    let Query(Which { segment }) = which;
    if let Some(segment) = &segment {
        segments::must_exist(&shared, segment).map_err(nowhere)?;
    }
    let question = Question::Explain { customer_id: customer_id.clone(), segment };
    find(&shared, &asked, &customer_id, &question, Problem::unknown_customer).await
}

/// The answer of whoever has the customer. Unknown, which is a problem, is only whom no process can have.
async fn find(
    shared: &Shared,
    asked: &Asked,
    customer_id: &str,
    question: &Question,
    unknown: fn(&str) -> Problem,
) -> Result<LocalJson, Local<Problem>> {
    let mut tries = 1;
    loop {
        let ours = shared.sources.ask_all(question).await.map_err(nowhere)?;
        let mut partitions = ours.partitions;
        if let Some(answer) = ours.answers.iter().find_map(|answer| told(customer_id, answer)) {
            return Ok(Local(partitions, Json(answer)));
        }
        let others = if shared.sources.is_all(&partitions) {
            super::peers::Others::default()
        } else {
            shared.ask_others(asked).await
        };
        for theirs in &others.answers {
            if theirs.status == 200 {
                return Ok(Local(partitions, Json(theirs.body.clone())));
            }
            if theirs.status == 404 {
                partitions.extend(&theirs.partitions);
            }
        }
        if asked.is_forwarded || shared.sources.is_all(&partitions) {
            return Err(Local(partitions, unknown(customer_id)));
        }
        if tries == TRIES {
            return Err(nowhere(gap(&shared.sources, &partitions, &others)));
        }
        tries += 1;
        tokio::time::sleep(AGAIN).await;
    }
}

fn told(customer_id: &str, answer: &Answer) -> Option<Value> {
    match answer {
        Answer::Customer(view) => Some(api::customer(view)),
        Answer::Erased(receipt) => Some(api::erasure(customer_id, receipt)),
        Answer::Explained { at, explanations } => {
            let segments: Vec<_> =
                explanations.iter().map(|(segment, explanation)| api::explanation(segment, explanation)).collect();
            Some(json!({"customer_id": customer_id, "at": api::instant(*at), "segments": segments}))
        }
        _ => None,
    }
}

/// The customer of a path that has no query.
fn only_id(id: Id, nothing: NoQuery) -> Result<String, Local<Problem>> {
    nothing.map_err(|rejection| nowhere(Problem::bad_request(rejection.body_text())))?;
    customer_id(id).map_err(nowhere)
}

/// A problem that speaks for no partition.
fn nowhere(problem: Problem) -> Local<Problem> {
    Local(std::collections::BTreeSet::new(), problem)
}

pub(super) fn customer_id(id: Id) -> Result<String, Problem> {
    let Path(id) = id.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    if id.len() > ID_BYTES_MAX {
        return Err(Problem::bad_request(format!("no customer id is longer than {ID_BYTES_MAX} bytes")));
    }
    Ok(id)
}
