//! A network that is slow, and breaks off.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

/// What arrives later in one piece.
const PIECE: usize = 16 * 1024;

/// Passes connections on, slowly.
pub struct Proxy {
    port: u16,
    target: Arc<OnceLock<u16>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// Listens; each piece in each direction takes that long.
    pub fn start(delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), target: Arc::default(), open: Arc::default() };
        let (target, open) = (proxy.target.clone(), proxy.open.clone());
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Some(far) = target.get().and_then(|port| TcpStream::connect(("127.0.0.1", *port)).ok()) else {
                    continue;
                };
                let ends = || (near.try_clone().unwrap(), far.try_clone().unwrap());
                open.lock().unwrap().extend(<[_; 2]>::from(ends()));
                let (one, other) = (ends(), ends());
                thread::spawn(move || pump(one.0, one.1, delay));
                thread::spawn(move || pump(other.1, other.0, delay));
            }
        });
        proxy
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Says where to pass on to.
    pub fn pass_on_to(&self, port: u16) {
        self.target.set(port).unwrap();
    }

    /// Breaks all connections off.
    pub fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            // It may have ended by itself.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let mut piece = vec![0; PIECE];
    while let Ok(n_bytes @ 1..) = from.read(&mut piece) {
        thread::sleep(delay);
        if to.write_all(&piece[..n_bytes]).is_err() {
            break;
        }
    }
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}
