//! The dashboard's files, built in. They hold no data: what they show they ask for, with the token of who looks.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use xxhash_rust::xxh3::xxh3_64;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const ICON: &str = "image/svg+xml";
const SCRIPT: &str = "text/javascript; charset=utf-8";

type File = (&'static str, &'static str, &'static str);

macro_rules! files {
    ($($path:literal $kind:ident $file:literal;)*) => {
        &[$(($path, $kind, include_str!(concat!("../../dashboard/", $file)))),*]
    };
}

/// Address, type and text of each file.
const FILES: &[File] = files! {
    "/" HTML "index.html";
    "/style.css" CSS "style.css";
    "/icon.svg" ICON "icon.svg";
    "/theme.js" SCRIPT "theme.js";
    "/app.js" SCRIPT "app.js";
    "/api.js" SCRIPT "api.js";
    "/charts.js" SCRIPT "charts.js";
    "/dom.js" SCRIPT "dom.js";
    "/language.js" SCRIPT "language.js";
    "/parts.js" SCRIPT "parts.js";
    "/words.js" SCRIPT "words.js";
    "/pages/customer.js" SCRIPT "pages/customer.js";
    "/pages/definitions.js" SCRIPT "pages/definitions.js";
    "/pages/feed.js" SCRIPT "pages/feed.js";
    "/pages/overview.js" SCRIPT "pages/overview.js";
    "/pages/segment.js" SCRIPT "pages/segment.js";
    "/pages/trial.js" SCRIPT "pages/trial.js";
    "/vendor/uPlot.iife.min.js" SCRIPT "vendor/uPlot.iife.min.js";
    "/vendor/uPlot.min.css" CSS "vendor/uPlot.min.css";
};

/// Nothing from elsewhere, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes of the dashboard.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, file| {
        router.route(file.0, get(move |headers: HeaderMap| async move { answer(file, &headers) }))
    })
}

fn answer((_, kind, text): &File, headers: &HeaderMap) -> Response {
    let tag = format!("\"{:016x}\"", xxh3_64(text.as_bytes()));
    let is_known = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { text.into_response() };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("content-security-policy"), HeaderValue::from_static(POLICY));
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}
