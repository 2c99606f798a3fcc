//! Which addresses a check may reach.
//!
//! A checker's URL comes over the API, so it could be aimed at something that only this machine can reach. Only
//! public addresses are allowed by default; loopback and private ones must be named in `BOT_CHECK_ALLOW`; the
//! metadata services of clouds are refused even when they are named.
//!
//! The address that was checked is the address that is connected to: this guard is the resolver of the HTTP client,
//! so a second DNS answer changes nothing. The client follows no redirects.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::check_threads::CheckThreads;

/// How long resolving a name may take.
const RESOLVE: Duration = Duration::from_secs(5);

/// One entry of `BOT_CHECK_ALLOW`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedAddress {
    /// A host name, whatever it resolves to.
    Host(String),
    /// A network or a single address.
    Network(IpAddr, u8),
}

impl FromStr for AllowedAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        if let Ok(address) = address.parse::<IpAddr>() {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Ok(most), str::parse).map_err(|_| format!("`{text}` is no network"))?;
            if bits > most {
                return Err(format!("`{text}` is no network"));
            }
            return Ok(Self::Network(address, bits));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
        if bits.is_some() || text.is_empty() || !text.chars().all(plain) {
            return Err(format!("`{text}` is no host, address or network"));
        }
        Ok(Self::Host(text.to_ascii_lowercase()))
    }
}

/// Which addresses a check may reach; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct AddressGuard {
    allowed: Arc<Vec<AllowedAddress>>,
    resolvers: CheckThreads,
}

impl AddressGuard {
    /// Allows public addresses and those that are named.
    pub(crate) fn new(allowed: Vec<AllowedAddress>) -> Self {
        Self { allowed: Arc::new(allowed), resolvers: CheckThreads::for_names() }
    }

    /// Checks a URL before it is kept: scheme, no user information, and the address when it is a literal one.
    ///
    /// # Errors
    /// What the URL should be instead, for the field error.
    pub(crate) fn check_url(&self, url: &Url) -> Result<(), String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err("an http or https URL".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL without user and password; name an environment variable instead".to_owned());
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        if host.is_empty() {
            return Err("a URL with a host".to_owned());
        }
        match host.parse::<IpAddr>() {
            Ok(address) => self.check_address(host, address).map_err(str::to_owned),
            Err(_) if host.eq_ignore_ascii_case("localhost") || host.ends_with(".localhost") => {
                self.check_address(host, IpAddr::V4(Ipv4Addr::LOCALHOST)).map_err(str::to_owned)
            }
            Err(_) => Ok(()),
        }
    }

    /// Checks one address of a host.
    ///
    /// # Errors
    /// What the address should be instead.
    pub(crate) fn check_address(&self, host: &str, address: IpAddr) -> Result<(), &'static str> {
        let address = unwrap_ipv4(address);
        if is_metadata(address) {
            return Err("an address that is not a cloud's metadata service");
        }
        let is_named = self.allowed.iter().any(|allowed| match allowed {
            AllowedAddress::Host(name) => name.eq_ignore_ascii_case(host),
            AllowedAddress::Network(network, bits) => contains(*network, *bits, address),
        });
        if is_named || is_public(address) {
            return Ok(());
        }
        Err("a public address, or one that BOT_CHECK_ALLOW names")
    }

    /// Resolves a name and checks every address; one refused address refuses the name.
    ///
    /// # Errors
    /// [`RefusedAddress`] for an address that may not be reached, otherwise the resolver's error.
    pub(crate) async fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let addresses = self.look_up(host, port).await?;
        for address in &addresses {
            self.check_address(host, address.ip()).map_err(RefusedAddress)?;
        }
        if addresses.is_empty() {
            return Err("the name has no address".into());
        }
        Ok(addresses.into_iter().collect())
    }

    /// Resolves the host of a PostgreSQL server, which the operator names in the environment and which may be any. The
    /// client of PostgreSQL would resolve it on the threads that the store's reads need.
    ///
    /// # Errors
    /// Why the name has no address, as a sentence.
    pub(crate) async fn resolve_postgres(&self, config: &mut tokio_postgres::Config) -> Result<(), String> {
        use tokio_postgres::config::Host;
        if !config.get_hostaddrs().is_empty() {
            return Ok(());
        }
        let hosts = config.get_hosts().to_vec();
        for host in &hosts {
            let Host::Tcp(name) = host else { return Ok(()) };
            let addresses =
                self.look_up(name, 0).await.map_err(|_| "its name does not resolve".to_owned())?;
            let mut addresses = addresses.iter().map(SocketAddr::ip);
            config.hostaddr(addresses.next().ok_or_else(|| "its name has no address".to_owned())?);
            // The client wants as many hosts as addresses; of several hosts each keeps its first address.
            if hosts.len() == 1 {
                addresses.for_each(|address| {
                    config.host(name).hostaddr(address);
                });
            }
        }
        Ok(())
    }

    /// The addresses of a name, on a thread of the checks: a resolver that hangs takes none that others need.
    async fn look_up(
        &self,
        host: &str,
        port: u16,
    ) -> Result<BTreeSet<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let name = host.to_owned();
        let looked_up = self.resolvers.call_shared(move || (name.as_str(), port).to_socket_addrs());
        let addresses = tokio::time::timeout(RESOLVE, looked_up).await;
        Ok(addresses.map_err(|_| "the name did not resolve in time")???.collect())
    }
}

/// The host of a checker has an address that may not be reached.
#[derive(Debug, thiserror::Error)]
#[error("refused: it should be {0}")]
pub(crate) struct RefusedAddress(&'static str);

impl Resolve for AddressGuard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let addresses = Self::resolve(&guard, name.as_str(), 0).await?;
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

/// The IPv4 address that an IPv6 address embeds, if it embeds one: the rules for IPv4 must apply to it.
fn unwrap_ipv4(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    if let Some(four) = six.to_ipv4_mapped() {
        return IpAddr::V4(four);
    }
    let [a, b, c, d, e, f, g, h] = six.segments();
    let four = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b, c, d, e, f) {
        // NAT64 and 6to4 carry an IPv4 address.
        (0x64, 0xff9b, 0, 0, 0, 0) => four(g, h),
        (0x2002, ..) => four(b, c),
        _ => address,
    }
}

fn is_metadata(address: IpAddr) -> bool {
    const FOUR: [Ipv4Addr; 4] = [
        Ipv4Addr::new(169, 254, 169, 254),
        Ipv4Addr::new(169, 254, 170, 2),
        Ipv4Addr::new(100, 100, 100, 200),
        Ipv4Addr::new(192, 0, 0, 192),
    ];
    const SIX: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address {
        IpAddr::V4(four) => FOUR.contains(&four),
        IpAddr::V6(six) => six == SIX,
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => {
            let [a, b, ..] = four.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let special = a == 0 || a >= 224 || (a == 192 && b == 0) || (a == 198 && (18..20).contains(&b));
            let local = four.is_private() || four.is_loopback() || four.is_link_local();
            !(local || shared || special || four.is_documentation())
        }
        IpAddr::V6(six) => {
            let first = six.segments()[0];
            // Global unicast is 2000::/3; everything else is loopback, local, multicast or reserved.
            (first & 0xe000) == 0x2000 && !(first == 0x2001 && six.segments()[1] == 0x0db8)
        }
    }
}

fn contains(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    let wide = |address: IpAddr| match address {
        IpAddr::V4(four) => (u128::from(four.to_bits()) << 96, 32),
        IpAddr::V6(six) => (six.to_bits(), 128),
    };
    let ((network, size), (address, other)) = (wide(network), wide(address));
    let mask = if bits == 0 { 0 } else { u128::MAX << (128 - u32::from(bits)) };
    size == other && network & mask == address & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, allowed: &[&str], expected: bool) {
        let allowed = allowed.iter().map(|text| text.parse().unwrap()).collect();
        let verdict = AddressGuard::new(allowed).check_url(&url.parse().unwrap());
        assert_eq!(verdict.is_ok(), expected, "{url}: {verdict:?}");
    }

    #[test]
    fn only_public_addresses_are_open() {
        check("https://93.184.216.34/health", &[], true);
        check("https://api.example.com/health", &[], true);
        for closed in [
            "http://127.0.0.1/",
            "http://localhost:8000/",
            "http://a.localhost/",
            "http://10.1.2.3/",
            "http://192.168.0.1/",
            "http://172.16.0.1/",
            "http://100.64.0.1/",
            "http://0.0.0.0/",
            "http://[::1]/",
            "http://[fe80::1]/",
            "http://[fc00::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[2002:7f00:1::]/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://224.0.0.1/",
            "ftp://93.184.216.34/",
            "file:///etc/passwd",
            "http://user:secret@93.184.216.34/",
        ] {
            check(closed, &[], false);
        }
    }

    #[test]
    fn what_is_named_is_open_and_metadata_never() {
        check("http://127.0.0.1:9/", &["127.0.0.1"], true);
        check("http://localhost/", &["localhost"], true);
        check("http://10.1.2.3/", &["10.0.0.0/8"], true);
        check("http://11.1.2.3/", &["10.0.0.0/8"], true);
        check("http://10.1.2.3/", &["10.1.2.4/31"], false);
        check("http://169.254.169.254/latest", &["169.254.0.0/16", "169.254.169.254"], false);
        check("http://[::ffff:169.254.169.254]/", &["0.0.0.0/0"], false);
        check("http://100.100.100.200/", &["0.0.0.0/0"], false);
        check("http://[fd00:ec2::254]/", &["::/0"], false);
    }

    #[tokio::test]
    async fn a_name_that_resolves_inward_is_refused_at_the_connection() {
        let guard = AddressGuard::new(Vec::new());
        assert!(guard.resolve("localhost", 80).await.unwrap_err().is::<RefusedAddress>());
        let guard = AddressGuard::new(vec!["localhost".parse().unwrap()]);
        assert!(guard.resolve("localhost", 80).await.is_ok());
    }
}
