//! The URL under which the other processes of the application reach this one, found out where it is not configured.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};

/// The URL of a server that listens at `address`. Where it listens everywhere, the address from which this machine speaks to
/// the broker is taken: the other processes speak to the same broker.
pub fn advertised(configured: &str, address: SocketAddr, brokers: &str) -> String {
    if !configured.is_empty() {
        return configured.to_owned();
    }
    let ip = if address.ip().is_unspecified() { speaking_to(brokers).unwrap_or(address.ip()) } else { address.ip() };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// The address from which this machine speaks to the first broker that has one. Nothing is sent.
fn speaking_to(brokers: &str) -> Option<IpAddr> {
    brokers.split(',').find_map(|broker| {
        let broker = broker.trim().rsplit_once("://").map_or(broker.trim(), |(_, host)| host);
        let to = broker.to_socket_addrs().ok()?.next()?;
        let from: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_one_that_others_can_use() {
        let cases = [
            ("http://segue-0.segue:8080", "0.0.0.0:8080", "http://segue-0.segue:8080"),
            ("", "10.0.0.7:8080", "http://10.0.0.7:8080"),
            ("", "0.0.0.0:8080", "http://127.0.0.1:8080"),
            ("", "[::1]:80", "http://[::1]:80"),
        ];
        for (configured, address, expected) in cases {
            assert_eq!(advertised(configured, address.parse().unwrap(), "x.invalid:1,127.0.0.1:9092"), expected);
        }
    }
}
