//! `segue health`: whether the service on this machine is well, for health checks of images that hold nothing else.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use super::exit::{Exit, Failure};
use super::set::configuration;

/// Ask the service on this machine whether it is well; the exit code is the answer.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
segue health --config segue.yaml          # do the workers make progress?\n  \
segue health --config segue.yaml --ready  # is every partition restored, and the broker there?")]
pub(super) struct Args {
    /// The configuration file (YAML) the service was started with
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Ask whether it is ready, and not only whether it is alive
    #[arg(long)]
    ready: bool,
}

const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let config = configuration(&args.config)?;
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let address = reachable(config.http.listen);
    let answer = ask(address, path).with_context(|| format!("nobody answers at http://{address}{path}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let is_well = head.split(' ').nth(1) == Some("200");
    writeln!(io::stdout(), "{}", body.trim())?;
    Ok(if is_well { Exit::Done } else { Exit::Outside })
}

/// Who listens everywhere also listens here.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(1 << 20).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
