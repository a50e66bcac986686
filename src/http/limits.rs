//! What keeps one caller from taking all of it: bounds on time and on requests under way; and who may be called what.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, HOST, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio::sync::Semaphore;

use super::problem::Problem;

/// Requests under way at a time; those that come when all places are taken wait a little.
const UNDER_WAY_MAX: usize = 64;
const WAIT_FOR_A_PLACE: Duration = Duration::from_secs(2);
/// A request that is not answered by then is told so.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Places for requests.
pub(super) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(UNDER_WAY_MAX))
}

/// Lets a request in when there is a place for it.
pub(super) async fn one_of_few(State(places): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(WAIT_FOR_A_PLACE, places.acquire()).await {
        Ok(Ok(_place)) => next.run(request).await,
        _ => Problem::busy().into_response(),
    }
}

/// Answers, or says that it takes too long.
pub(super) async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::too_slow().into_response(),
    }
}

/// Says that an answer is of the type it says it is, and nothing for caches that others share.
pub(super) async fn not_sniffed(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The host names under which we may be asked; `None`: any, because a token is asked for.
#[derive(Clone)]
pub(super) struct Hosts(Option<Arc<str>>);

impl Hosts {
    pub(super) fn new(any: bool, advertised: &str) -> Self {
        let host = advertised.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
        Self((!any).then(|| name_of(host).to_lowercase().into()))
    }

    fn knows(&self, host: Option<&[u8]>) -> bool {
        let Some(own) = &self.0 else { return true };
        let Some(host) = host.and_then(|host| std::str::from_utf8(host).ok()) else { return host.is_none() };
        let name = name_of(host).to_lowercase();
        let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        is_address || name == "localhost" || (!own.is_empty() && name == **own)
    }
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Refuses requests under a name that somebody else has pointed at us.
pub(super) async fn known_host(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).map(HeaderValue::as_bytes);
    if hosts.knows(host) { next.run(request).await } else { Problem::wrong_host().into_response() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_token_only_our_own_names_are_answered() {
        let hosts = Hosts::new(false, "http://segue-0.segue:8080");
        let cases = [
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("10.1.2.3", true),
            ("localhost:9", true),
            ("LocalHost", true),
            ("segue-0.segue:8080", true),
            ("segue-0.segue.evil.example", false),
            ("evil.example:8080", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ];
        for (host, expected) in cases {
            assert_eq!(hosts.knows(Some(host.as_bytes())), expected, "{host}");
        }
        assert!(!Hosts::new(false, "").knows(Some(b":8080")));
        assert!(Hosts::new(true, "").knows(Some(b"evil.example")));
    }
}
