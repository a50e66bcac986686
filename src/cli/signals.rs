//! Being asked to end: SIGTERM and Ctrl-C.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

use crate::kafka::Stop;

use super::Exit;

/// SIGTERM and Ctrl-C ask whoever holds `stop` to end; a second one ends the process at once.
pub(super) fn end_on_signals(stop: &Stop) -> io::Result<()> {
    let stop = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            if let Err(error) = asked_to_end().await {
                tracing::error!(%error, "signals cannot be waited for");
                return;
            }
            tracing::info!("ending: committing what is under way");
            stop.request();
            if asked_to_end().await.is_ok() {
                std::process::exit(i32::from(Exit::Outside as u8));
            }
        });
    })?;
    Ok(())
}

async fn asked_to_end() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}
