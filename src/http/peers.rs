//! Asking the other processes of the application, each of which has some of the customers.
//!
//! A question that comes from another process is answered from here alone, and says which partitions the answer speaks
//! for. Only when all partitions were spoken for is a customer whom nobody has unknown.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use serde_json::Value;

use super::problem::Problem;
use super::{Shared, Sources};

/// Marks a question that another process asks on behalf of its caller.
const FORWARDED: HeaderName = HeaderName::from_static("segue-forwarded");
/// The partitions that an answer speaks for.
const PARTITIONS: HeaderName = HeaderName::from_static("segue-partitions");
const ANSWER_WITHIN: Duration = Duration::from_secs(12);
/// Shorter than the other side's patience with a silent connection.
const IDLE: Duration = Duration::from_secs(10);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// How a request came: what is needed to ask others the same.
pub(super) struct Asked {
    path: String,
    authorization: Option<HeaderValue>,
    /// Whether it is another process that asks.
    pub(super) is_forwarded: bool,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let path = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
        Ok(Self {
            path,
            authorization: parts.headers.get(AUTHORIZATION).cloned(),
            is_forwarded: parts.headers.contains_key(&FORWARDED),
        })
    }
}

/// An answer of another process.
pub(super) struct Theirs {
    pub(super) status: u16,
    pub(super) partitions: BTreeSet<i32>,
    pub(super) body: Value,
}

/// What the other processes answered.
#[derive(Default)]
pub(super) struct Others {
    pub(super) answers: Vec<Theirs>,
    /// Those that could not be asked, and why.
    pub(super) silent: Vec<String>,
}

/// A client for such questions.
pub(super) fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().connect_timeout(CONNECT_WITHIN).timeout(ANSWER_WITHIN);
    // Neither a proxy nor a redirect has a place between two processes of one application.
    let client = client.pool_idle_timeout(IDLE);
    client.no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap_or_default()
}

impl Shared {
    /// Asks all other processes the same. Nobody is asked when we hold everything, or when it is another process that asks.
    pub(super) async fn ask_others(&self, asked: &Asked) -> Others {
        if asked.is_forwarded || self.sources.is_all(&self.sources.own_partitions()) {
            return Others::default();
        }
        let addresses = match self.sources.others().await {
            Ok(addresses) => addresses,
            Err(complaint) => return Others { silent: vec![complaint], ..Others::default() },
        };
        let mut others = Others::default();
        let pending = addresses.iter().map(|address| ask(&self.client, address, asked));
        for (address, answer) in addresses.iter().zip(join_all(pending).await) {
            match answer {
                Ok(theirs) => others.answers.push(theirs),
                // The reason may hold an address with more in it than is anyone's business.
                Err(error) => others.silent.push(format!("{address} {}", reason(&error))),
            }
        }
        others
    }
}

impl Sources {
    /// The addresses of the other processes.
    async fn others(&self) -> Result<Vec<String>, String> {
        let Some(peers) = self.peers.get().cloned() else { return Ok(Vec::new()) };
        let addresses = tokio::task::spawn_blocking(move || peers.addresses()).await;
        match addresses {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("looking for the other processes failed".to_owned()),
        }
    }
}

async fn ask(client: &reqwest::Client, address: &str, asked: &Asked) -> Result<Theirs, reqwest::Error> {
    let mut request = client.get(format!("{address}{}", asked.path)).header(FORWARDED, "1");
    if let Some(authorization) = &asked.authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let response = request.send().await?;
    let partitions = partitions_in(response.headers());
    let status = response.status().as_u16();
    Ok(Theirs { status, partitions, body: response.json().await? })
}

fn reason(error: &reqwest::Error) -> &'static str {
    match error {
        error if error.is_timeout() => "did not answer in time",
        error if error.is_connect() => "cannot be reached",
        error if error.is_decode() => "did not answer with JSON",
        _ => "did not answer",
    }
}

fn partitions_in(headers: &HeaderMap) -> BTreeSet<i32> {
    let text = headers.get(&PARTITIONS).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(',').filter_map(|number| number.parse().ok()).collect()
}

/// An answer that says which partitions it speaks for.
pub(super) struct Local<T>(pub(super) BTreeSet<i32>, pub(super) T);

impl<T: IntoResponse> IntoResponse for Local<T> {
    fn into_response(self) -> Response {
        let numbers: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        let mut response = self.1.into_response();
        if let Ok(value) = HeaderValue::from_str(&numbers.join(",")) {
            response.headers_mut().insert(PARTITIONS, value);
        }
        response
    }
}

/// An answer with a JSON body.
pub(super) type LocalJson = Local<Json<Value>>;

/// Adds up the numbers of two objects under the given names.
pub(super) fn add(to: &mut Value, from: &Value, names: &[&str]) {
    for name in names {
        let (Some(sum), Some(more)) = (to.get(*name).and_then(Value::as_f64), from.get(*name).and_then(Value::as_f64))
        else {
            continue;
        };
        let whole = to[*name].is_i64() && from[*name].is_i64();
        let sums = (to[*name].as_i64().unwrap_or_default(), from[*name].as_i64().unwrap_or_default());
        to[*name] = if whole { Value::from(sums.0 + sums.1) } else { Value::from(sum + more) };
    }
}

/// The problem with an answer from another process that is not what was asked for.
pub(super) fn gap(sources: &Sources, partitions: &BTreeSet<i32>, others: &Others) -> Problem {
    Problem::held_elsewhere(&sources.missing(partitions), &others.silent)
}
