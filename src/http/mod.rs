//! Who asks: people, scrapers and programs, over HTTP. The route table, and the server's life.

mod advertise;
pub mod api;
mod ask;
mod auth;
mod changes;
mod customers;
mod dashboard;
mod definitions;
mod health;
mod history;
mod limits;
mod peers;
mod problem;
mod segments;
mod serve;
mod status;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use axum::{Router, response::IntoResponse};
use tokio::sync::{Semaphore, oneshot};

use crate::config::Http;
use crate::telemetry::Telemetry;
use crate::worker::feed::Feed;
use crate::worker::peers::Peers;
use crate::worker::query::Asker;
use crate::worker::status::Status;

pub use advertise::advertised;
use auth::Token;
pub use definitions::DefinitionFiles;
use history::History;
use limits::Hosts;
use problem::Problem;

/// What is answered to whom, for programs that read such things.
pub const OPENAPI: &str = include_str!("../../docs/openapi.json");

/// No request has a reason to send more.
const BODY_BYTES_MAX: usize = 256 << 10;
/// Trials of definitions at a time.
const TRIALS_MAX: usize = 1;

/// What requests are answered from. Clones are the same.
#[derive(Clone)]
pub struct Sources {
    /// What the workers say of themselves.
    pub status: Status,
    telemetry: Telemetry,
    /// One for each worker, once they have been started.
    askers: Arc<OnceLock<Vec<Asker>>>,
    feed: Arc<OnceLock<Feed>>,
    peers: Arc<OnceLock<Peers>>,
    origin: Arc<OnceLock<Arc<DefinitionFiles>>>,
}

impl Sources {
    /// Sources of a process whose workers are yet to be started.
    pub fn new(status: Status, telemetry: Telemetry) -> Self {
        Self {
            status,
            telemetry,
            askers: Arc::default(),
            feed: Arc::default(),
            peers: Arc::default(),
            origin: Arc::default(),
        }
    }

    /// Lets these workers be asked from now on. Each source is named once; another is not taken.
    pub fn ask(&self, askers: Vec<Asker>) {
        let _ = self.askers.set(askers);
    }

    /// Lets the changes be followed from now on.
    pub fn follow(&self, feed: Feed) {
        let _ = self.feed.set(feed);
    }

    /// Lets the other processes be asked from now on.
    pub fn meet(&self, peers: Peers) {
        let _ = self.peers.set(peers);
    }

    /// Says where the definitions at work came from.
    pub fn defined_by(&self, origin: DefinitionFiles) {
        let _ = self.origin.set(Arc::new(origin));
    }

    fn origin(&self) -> Result<Arc<DefinitionFiles>, Problem> {
        self.origin.get().cloned().ok_or_else(Problem::no_answer)
    }
}

#[derive(Clone)]
struct Shared {
    sources: Sources,
    token: Token,
    history: Arc<History>,
    client: reqwest::Client,
    streams: Arc<Semaphore>,
    trials: Arc<Semaphore>,
    hosts: Hosts,
    /// Where this process is reached, for people who look at several.
    address: Arc<str>,
    started_at: i64,
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
        let token = Token::new(&settings.token);
        let shared = Shared {
            hosts: Hosts::new(token.is_set(), &settings.advertise),
            sources,
            token,
            history: Arc::default(),
            client: peers::client(),
            streams: changes::streams(),
            trials: Arc::new(Semaphore::new(TRIALS_MAX)),
            address: address.to_string().into(),
            started_at: now_ms(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("http".into()).spawn(move || {
            if let Err(error) = runtime.block_on(serve(listener, shared, stopped)) {
                tracing::error!(%error, "the HTTP side has ended");
            }
            // Who waits for the broker on behalf of a request is not waited for.
            runtime.shutdown_timeout(Duration::from_secs(1));
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
    let sampling = tokio::spawn(history::keep(shared.history.clone(), shared.sources.clone()));
    serve::serve(listener, routes(shared), stopped).await;
    sampling.abort();
    Ok(())
}

/// All that can be asked for, as `docs/openapi.json` describes it.
fn routes(shared: Shared) -> Router {
    let guarded = Router::new()
        .route("/v1/status", get(status::show))
        .route("/v1/segments", get(segments::list))
        .route("/v1/segments/{name}/history", get(segments::history))
        .route("/v1/segments/{name}/members", get(segments::members))
        .route("/v1/customers/{id}", get(customers::show))
        .route("/v1/customers/{id}/explain", get(customers::explain))
        .route("/v1/customers/{id}/erasure", get(customers::erasure))
        .route("/v1/customers/{id}/changes", get(changes::of_customer))
        .route("/v1/changes", get(changes::follow))
        .route("/v1/changes/recent", get(changes::recent))
        .route("/v1/definitions", get(definitions::list))
        .route("/v1/definitions/check", post(definitions::check))
        .route("/v1/definitions/try", post(definitions::attempt))
        .layer(from_fn_with_state(limits::places(), limits::one_of_few))
        .layer(from_fn_with_state(shared.token.clone(), auth::guard))
        .layer(from_fn_with_state(shared.hosts.clone(), limits::known_host));
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(|| async { ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response() }))
        .merge(dashboard::routes())
        .merge(guarded)
        .fallback(|| async { Problem::no_such_page() })
        .method_not_allowed_fallback(|| async { Problem::method() })
        .layer(from_fn(limits::in_time))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(limits::not_sniffed))
        .with_state(shared)
}

/// The wall clock, milliseconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "answers say how things stand now")]
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
