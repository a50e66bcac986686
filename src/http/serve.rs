//! Connections: taken one by one, bounded in number and patience, and let go at the end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

/// Connections at a time; more wait to be taken.
const CONNECTIONS_MAX: usize = 512;
/// How long a client may take to send the head of a request, or stay silent between two.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// How long open requests may go on after the server was asked to stop.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);
/// After a connection could not be taken, such as for want of file descriptors.
const AGAIN: Duration = Duration::from_millis(100);

/// Serves until `stopped` is told, or nobody is left who could tell.
pub(super) async fn serve(listener: TcpListener, routes: Router, mut stopped: oneshot::Receiver<()>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    loop {
        let (stream, place) = tokio::select! {
            _ = &mut stopped => break,
            taken = take(&listener, &places) => match taken {
                Ok(taken) => taken,
                Err(error) => {
                    tracing::debug!(%error, "taking a connection");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            },
        };
        let service = TowerToHyperService::new(routes.clone());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // A client that breaks off is no error of ours.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN_WITHIN, graceful.shutdown()).await;
}

async fn take(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}
