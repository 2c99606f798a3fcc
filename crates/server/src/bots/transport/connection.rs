//! Requests to one endpoint whose peer was checked.

use std::net::SocketAddr;
use std::path::PathBuf;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use secrecy::ExposeSecret;

use super::super::exchange::TransportFailure;
use super::address::{BotAddress, BotPlace};
use super::endpoint::{BotEndpoint, CONNECT_LIMIT, PeerProcess, holds_socket, is_socket};
use super::tcp_port::SocketHolder;
use super::{tcp_port, unix_socket};

/// HTTP clients for one endpoint whose peer was checked.
#[derive(Debug)]
pub(in crate::bots) struct BotConnection {
    address: BotAddress,
    endpoint: BotEndpoint,
    /// The process that listens, if the kernel says so.
    peer_pid: Option<u32>,
    /// Where `/proc` shows that this process still holds the port that it listened on when this was made.
    port_file: Option<PathBuf>,
    polls: Client,
    calls: Client,
}

/// Gives the process its TLS provider, once; later calls change nothing. `reqwest` will not build a client without
/// one, even for a Unix socket.
pub fn install_tls_provider() {
    // An error says that a provider is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Connects once to learn who listens, and makes clients for this address.
pub(in crate::bots) async fn connect(
    address: &BotAddress,
    endpoint: BotEndpoint,
) -> Result<BotConnection, TransportFailure> {
    let (peer_pid, port_file, reached) = match &address.place {
        BotPlace::UnixSocket(socket) => (unix_socket::probe(socket, address.owner).await?, None, None),
        BotPlace::TcpPort(port) => {
            let reached = port.probe().await?;
            let (pid, file) = listening_process(endpoint).await.map(|one| (one.pid, one.open_file)).unzip();
            (pid, file, Some(reached))
        }
    };
    install_tls_provider();
    // A call uses a connection of its own: when a kept one has just been closed by the bot, whether the call was
    // delivered cannot be known.
    let (polls, calls) = (build_client(address, reached, 1)?, build_client(address, reached, 0)?);
    Ok(BotConnection { address: address.clone(), endpoint, peer_pid, port_file, polls, calls })
}

impl BotConnection {
    /// Whether this connection was made for this very endpoint.
    pub(in crate::bots) fn is_to(&self, endpoint: BotEndpoint) -> bool {
        self.endpoint == endpoint
    }

    /// Whether it is plain that the process that listened on the port when this was made still does. It costs one look at
    /// one file of `/proc`, where the tables of all sockets would be read again. False where it cannot be seen so, as for
    /// a socket file.
    pub(in crate::bots) fn still_listens(&self) -> bool {
        let (Some(file), BotEndpoint::TcpListener { inode: Some(inode) }) = (&self.port_file, self.endpoint)
        else {
            return false;
        };
        is_socket(file, inode)
    }

    /// Whether the endpoint that this was made for is still the one at its address; the error says why not.
    pub(in crate::bots) fn check_endpoint(&self) -> Result<(), String> {
        if self.still_listens() {
            return Ok(());
        }
        match self.address.endpoint() {
            Ok(endpoint) if self.is_to(endpoint) => Ok(()),
            Ok(_) => Err("its socket was replaced a moment ago".to_owned()),
            Err(TransportFailure::Away(reason)) => Err(reason),
            Err(_) => Err("its socket cannot be used".to_owned()),
        }
    }

    /// The process at the other end; none where it cannot be seen from here.
    pub(in crate::bots) fn peer(&self) -> Option<PeerProcess> {
        let pid = self.peer_pid?;
        let is_listener = match (&self.address.place, self.endpoint) {
            (BotPlace::UnixSocket(socket), _) => unix_socket::holds_listener(pid, socket),
            (BotPlace::TcpPort(_), BotEndpoint::TcpListener { inode: Some(inode) }) => {
                holds_socket(pid, &[inode])
            }
            (BotPlace::TcpPort(_), _) => false,
        };
        Some(PeerProcess { pid, is_listener })
    }

    /// A request of the poll, over a kept connection.
    pub(in crate::bots) fn poll(&self, path: &str) -> RequestBuilder {
        self.polls.get(self.address.url(path))
    }

    /// A read, over a connection of its own.
    pub(in crate::bots) fn get(&self, path: &str) -> RequestBuilder {
        self.calls.get(self.address.url(path))
    }

    /// A command, over a connection of its own.
    pub(in crate::bots) fn post(&self, path: &str) -> RequestBuilder {
        self.calls.post(self.address.url(path))
    }
}

/// The process behind a port. Looking through all processes takes a moment, so another thread does it.
async fn listening_process(endpoint: BotEndpoint) -> Option<SocketHolder> {
    let BotEndpoint::TcpListener { inode: Some(inode) } = endpoint else { return None };
    tokio::task::spawn_blocking(move || tcp_port::holder_of(inode)).await.ok().flatten()
}

/// A client that keeps so many connections; `reached` is the address that a port's host was found at.
fn build_client(
    address: &BotAddress,
    reached: Option<SocketAddr>,
    idle: usize,
) -> Result<Client, TransportFailure> {
    let away = |what: &str| TransportFailure::Away(what.to_owned());
    let mut builder = Client::builder();
    match &address.place {
        BotPlace::UnixSocket(socket) => builder = builder.unix_socket(socket.clone()),
        BotPlace::TcpPort(port) => {
            let value = HeaderValue::from_str(&format!("Bearer {}", port.token.expose_secret()));
            let mut value = value.map_err(|_| away("the token for the bot does not fit into a header"))?;
            value.set_sensitive(true);
            builder = builder.default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)]));
            // The token goes to the address that was checked, whatever the name leads to a moment later.
            builder = reached.into_iter().fold(builder, |builder, at| builder.resolve(port.host(), at));
        }
    }
    builder
        // No certificate is checked on these ways; reading the system's costs milliseconds a client.
        .tls_certs_only([])
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(CONNECT_LIMIT)
        .http1_only()
        .pool_max_idle_per_host(idle)
        .build()
        .map_err(|_| away("the HTTP client could not be made"))
}

#[cfg(test)]
mod tests {
    use super::super::tcp_port::BotTcpPort;
    use super::*;

    #[tokio::test]
    async fn who_listens_on_a_port_is_looked_up_again_only_once_it_is_not_plain_any_more() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let url = format!("http://{at}").parse().unwrap();
        let address = BotAddress::tcp_port(BotTcpPort::from_url(&url, "a-token".to_owned().into()).unwrap());
        let connection = connect(&address, address.endpoint().unwrap()).await.unwrap();
        assert!(connection.still_listens());
        assert_eq!(connection.check_endpoint(), Ok(()));
        drop(listener);
        assert!(!connection.still_listens() && connection.check_endpoint().is_err());
        // Another socket of the same process on the same port is another listener.
        let Ok(_another) = std::net::TcpListener::bind(at) else { return };
        assert!(!connection.still_listens() && connection.check_endpoint().is_err());
        let connection = connect(&address, address.endpoint().unwrap()).await.unwrap();
        assert!(connection.still_listens());
    }
}
