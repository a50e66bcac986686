//! One customer: what is known of them, and why they are where they are.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::worker::query::{Answer, Question};

use super::problem::Problem;
use super::{Shared, api, segments};

type Id = Result<Path<String>, PathRejection>;

/// What `explain` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    segment: Option<String>,
}

/// `GET /v1/customers/{id}`
pub(super) async fn show(State(shared): State<Shared>, id: Id) -> Result<Json<Value>, Problem> {
    let customer_id = customer_id(id)?;
    let question = Question::Customer { customer_id: customer_id.clone() };
    match shared.sources.ask_about(&customer_id, &question).await? {
        Answer::Customer(view) => Ok(Json(api::customer(&view))),
        _ => Err(Problem::internal("a worker answered something else")),
    }
}

/// `GET /v1/customers/{id}/explain?segment=`
pub(super) async fn explain(
    State(shared): State<Shared>,
    id: Id,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let customer_id = customer_id(id)?;
    let Query(Which { segment }) = which.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    if let Some(segment) = &segment {
        segments::must_exist(&shared, segment)?;
    }
    let question = Question::Explain { customer_id: customer_id.clone(), segment };
    match shared.sources.ask_about(&customer_id, &question).await? {
        Answer::Explained { at, explanations } => {
            let segments: Vec<_> =
                explanations.iter().map(|(segment, explanation)| api::explanation(segment, explanation)).collect();
            Ok(Json(json!({"customer_id": customer_id, "at": api::instant(at), "segments": segments})))
        }
        _ => Err(Problem::internal("a worker answered something else")),
    }
}

fn customer_id(id: Id) -> Result<String, Problem> {
    id.map(|Path(id)| id).map_err(|rejection| Problem::bad_request(rejection.body_text()))
}
