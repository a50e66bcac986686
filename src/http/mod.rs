//! Who asks: people, scrapers and programs, over HTTP. The route table, and the server's life.

pub mod api;
mod ask;
mod auth;
mod customers;
mod flows;
mod health;
mod problem;
mod segments;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, routing::get};
use tokio::sync::oneshot;

use crate::config::Http;
use crate::telemetry::Telemetry;
use crate::worker::query::Asker;
use crate::worker::status::Status;

use auth::Token;
use flows::Flows;
use problem::Problem;

/// No request has a reason to send more.
const BODY_BYTES_MAX: usize = 64 << 10;
/// A request that is not answered by then is told so.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long open requests may go on after the server was asked to stop.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// What requests are answered from. Clones are the same.
#[derive(Clone, Debug)]
pub struct Sources {
    /// What the workers say of themselves.
    pub status: Status,
    telemetry: Telemetry,
    /// One for each worker, once they have been started.
    askers: Arc<OnceLock<Vec<Asker>>>,
}

impl Sources {
    /// Sources of a process whose workers are yet to be started.
    pub fn new(status: Status, telemetry: Telemetry) -> Self {
        Self { status, telemetry, askers: Arc::default() }
    }

    /// Lets these workers be asked from now on.
    pub fn ask(&self, askers: Vec<Asker>) {
        // Workers are started once.
        let _ = self.askers.set(askers);
    }
}

#[derive(Clone)]
struct Shared {
    sources: Sources,
    token: Token,
    flows: Arc<Flows>,
}

/// A server that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens, and answers on a thread of its own.
    ///
    /// # Errors
    /// When the address cannot be listened on, or no thread can be started.
    pub fn start(settings: &Http, sources: Sources) -> io::Result<Self> {
        let listener = TcpListener::bind(settings.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Shared { sources, token: Token::new(&settings.token), flows: Arc::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("http".into()).spawn(move || {
            if let Err(error) = runtime.block_on(serve(listener, shared, stopped)) {
                tracing::error!(%error, "the HTTP side has ended");
            }
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens, with the port it was given if it asked for any.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has logged why, if it ended badly.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, shared: Shared, stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let sampling = tokio::spawn(flows::sample_every_minute(shared.flows.clone(), shared.sources.telemetry.clone()));
    let (drained, deadline) = oneshot::channel::<()>();
    let stop = async move {
        // Asked to stop, or nobody is left who could ask.
        let _ = stopped.await;
        drop(drained);
    };
    let too_long = async move {
        let _ = deadline.await;
        tokio::time::sleep(DRAIN_WITHIN).await;
    };
    let serving = axum::serve(listener, routes(shared)).with_graceful_shutdown(stop);
    let served = tokio::select! {
        served = serving => served,
        () = too_long => Ok(()),
    };
    sampling.abort();
    served
}

/// All that can be asked for.
fn routes(shared: Shared) -> Router {
    let guarded = Router::new()
        .route("/v1/segments", get(segments::list))
        .route("/v1/segments/{name}/members", get(segments::members))
        .route("/v1/customers/{id}", get(customers::show))
        .route("/v1/customers/{id}/explain", get(customers::explain))
        .layer(from_fn_with_state(shared.token.clone(), auth::guard));
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .merge(guarded)
        .fallback(|| async { Problem::no_such_page() })
        .method_not_allowed_fallback(|| async { Problem::method() })
        .layer(from_fn(in_time))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shared)
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::too_slow().into_response(),
    }
}

/// The wall clock, milliseconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "answers say how things stand now")]
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
