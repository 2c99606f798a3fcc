//! A bot on a TCP port: of this machine, or of a private network such as that of containers. A token proves botops to
//! the bot; whose process listens is checked where the kernel of this machine knows it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use reqwest::Url;
use secrecy::SecretString;
use tokio::net::TcpStream;

use super::super::exchange::TransportFailure;
use super::endpoint::{BotEndpoint, BotOwner, connected, open_file_of};

/// A port that a bot listens on, and the token that it wants.
#[derive(Debug, Clone)]
pub struct BotTcpPort {
    /// A name or an address, as it was given.
    host: String,
    port: u16,
    /// Sent with each request as `Authorization: Bearer`.
    pub(super) token: SecretString,
}

impl BotTcpPort {
    /// The port that `http://host:port` names.
    ///
    /// # Errors
    /// What is wrong with the URL, as the rest of a sentence that begins with "it". A public address is refused: without
    /// TLS the token would be read on the way.
    pub fn from_url(url: &Url, token: SecretString) -> Result<Self, &'static str> {
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if url.scheme() != "http" || !is_bare || !url.username().is_empty() || url.password().is_some() {
            return Err("it is not of the form http://host:port");
        }
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err("it names no host and port");
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.parse::<IpAddr>().is_ok_and(|ip| !is_private(ip)) {
            return Err("it names an address that is neither of this machine nor of a private network");
        }
        Ok(Self { host, port, token })
    }

    /// The address for people and for the requests.
    pub(super) fn url(&self) -> String {
        let (host, port) = (&self.host, self.port);
        if host.contains(':') { format!("http://[{host}]:{port}") } else { format!("http://{host}:{port}") }
    }

    /// The name that requests go to, and that [`probe`](Self::probe) has found the address of.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// What listens now, if the kernel here knows it and it is of the bot's user. Only loopback addresses are looked
    /// up: what listens at another one may be on another machine.
    pub(super) fn listener(&self, owner: BotOwner) -> Result<BotEndpoint, TransportFailure> {
        let loopback = match self.host.as_str() {
            "localhost" => Some(vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]),
            host => host.parse().ok().filter(IpAddr::is_loopback).map(|ip: IpAddr| vec![ip]),
        };
        let Some(addresses) = loopback else { return Ok(BotEndpoint::TcpListener { inode: None }) };
        let listeners = read_listeners();
        let mut found = None;
        for listener in listeners.iter().filter(|one| one.port == self.port && one.serves(&addresses)) {
            owner.check(listener.owner).map_err(|owner| {
                let at = self.url();
                TransportFailure::Away(format!(
                    "a process of another user ({owner}) listens on {at}; it is not used"
                ))
            })?;
            found = found.or(Some(listener.inode));
        }
        // Without a listener that can be seen, connecting decides: a container's port is passed on by the kernel.
        Ok(BotEndpoint::TcpListener { inode: found })
    }

    /// Connects once; the address that took the connection is the one that requests go to.
    pub(super) async fn probe(&self) -> Result<SocketAddr, TransportFailure> {
        let away = |reason: String| TransportFailure::Away(reason);
        let host = &self.host;
        let lookup = tokio::net::lookup_host((host.as_str(), self.port));
        let unknown = away(format!("the name `{host}` leads to no address"));
        let found = connected(lookup, unknown.clone()).await.map_err(|_| unknown.clone())?;
        let mut last = unknown;
        for address in found {
            if !is_private(address.ip()) {
                return Err(away(format!(
                    "`{host}` leads to {}, which is neither of this machine nor of a private network; it is not used",
                    address.ip()
                )));
            }
            // Of this machine: somebody listens, and does not accept. Of another: nothing shows that anybody is there.
            let late = if address.ip().is_loopback() {
                TransportFailure::Late
            } else {
                away("its host does not answer".to_owned())
            };
            match connected(TcpStream::connect(address), late).await {
                Ok(_) => return Ok(address),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }
}

/// A process that holds a listening socket, and the entry of that open file in `/proc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SocketHolder {
    pub pid: u32,
    pub open_file: PathBuf,
}

/// The process that holds a listening socket, when it is one alone and can be seen from here. Of several (a server that
/// forks) none is named: which of them is the bot nobody can say.
pub(super) fn holder_of(inode: u64) -> Option<SocketHolder> {
    let entries = std::fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut holders =
        pids.filter_map(|pid| Some(SocketHolder { pid, open_file: open_file_of(pid, &[inode])? }));
    holders.next().filter(|_| holders.next().is_none())
}

/// A line of the kernel's tables of TCP sockets that listens.
struct Listener {
    address: IpAddr,
    port: u16,
    owner: u32,
    inode: u64,
}

impl Listener {
    /// Whether a connection to one of the addresses may come here.
    fn serves(&self, addresses: &[IpAddr]) -> bool {
        self.address.is_unspecified() || addresses.iter().any(|ip| ip.to_canonical() == self.address)
    }
}

/// Every TCP socket that listens in this network namespace.
fn read_listeners() -> Vec<Listener> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(std::fs::read_to_string);
    let tables: Vec<String> = tables.into_iter().filter_map(Result::ok).collect();
    tables.iter().flat_map(|table| table.lines()).filter_map(read_listener).collect()
}

fn read_listener(line: &str) -> Option<Listener> {
    /// `TCP_LISTEN`.
    const LISTENS: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    if *fields.get(3)? != LISTENS {
        return None;
    }
    Some(Listener {
        address: read_address(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        owner: fields.get(7)?.parse().ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// An address as the kernel prints it: words of 32 bits in hexadecimal, each in the order of this machine.
fn read_address(text: &str) -> Option<IpAddr> {
    let words = text.as_bytes().chunks(8).map(|word| {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        Some(word.to_ne_bytes())
    });
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some(ip.to_canonical())
}

/// Whether an address is of this machine or of a private network (RFC 1918, RFC 4193, and RFC 6598, which overlay
/// networks use). Link-local ones are not: metadata services of clouds are there.
fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            ip.is_loopback() || ip.is_private() || (first == 100 && second & 0xC0 == 64)
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_and_private_networks_are_asked() {
        let read = |url: &str| {
            let token = SecretString::from("a-token".to_owned());
            BotTcpPort::from_url(&url.parse().unwrap(), token).map(|port| port.url())
        };
        for url in [
            "http://127.0.0.1:9100",
            "http://[::1]:9100",
            "http://10.1.2.3:9100",
            "http://172.20.0.2:9100",
            "http://192.168.1.9:9100",
            "http://100.64.1.1:9100",
            "http://[fd00::1]:9100",
            "http://bot:9100",
        ] {
            assert_eq!(read(url).unwrap(), url);
        }
        for url in [
            "https://127.0.0.1:9100",
            "http://8.8.8.8:9100",
            "http://169.254.169.254:80",
            "http://[2001:4860::1]:9100",
            "http://0.0.0.0:9100",
            "http://127.0.0.1:9100/ipc",
            "http://127.0.0.1:9100/?a=b",
            "http://me:secret@127.0.0.1:9100",
        ] {
            assert!(read(url).is_err(), "{url}");
        }
    }

    #[tokio::test]
    async fn the_kernel_says_who_listens_on_a_port_of_this_machine() {
        let me = BotOwner::same_as_botops();
        for bound in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(bound) else { continue };
            let at = listener.local_addr().unwrap();
            let host = if at.is_ipv6() && at.ip().is_loopback() { "[::1]" } else { "127.0.0.1" };
            let url = format!("http://{host}:{}", at.port());
            let port = BotTcpPort::from_url(&url.parse().unwrap(), "a-token".to_owned().into()).unwrap();
            let Ok(BotEndpoint::TcpListener { inode: Some(inode) }) = port.listener(me) else {
                panic!("{bound}: not seen")
            };
            assert_eq!(holder_of(inode).map(|holder| holder.pid), Some(std::process::id()), "{bound}");
            assert_eq!(port.probe().await.unwrap().port(), at.port());
            let mine = rustix::process::geteuid().as_raw();
            let refused = port.listener(BotOwner::of_uid(mine + 1));
            assert!(mine == 0 || refused.is_err(), "another user's listener is not used");
            drop(listener);
            let gone = BotEndpoint::TcpListener { inode: None };
            assert_eq!(port.listener(me).unwrap(), gone);
            assert!(matches!(port.probe().await, Err(TransportFailure::Away(_))));
        }
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_away() {
        let url = "http://no-such-bot.invalid:9100".parse().unwrap();
        let port = BotTcpPort::from_url(&url, "a-token".to_owned().into()).unwrap();
        assert!(matches!(port.probe().await, Err(TransportFailure::Away(_))));
    }
}
