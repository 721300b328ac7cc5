//! Who may ask for what: names of this box (against DNS rebinding), same-site requests, requests of this machine.
//!
//! An address is never an identity here: a loopback peer may read what has no secrets, and changes nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;

use http::HeaderMap;
use http::header::{CONTENT_TYPE, FORWARDED, HOST, HeaderName, ORIGIN};
use http::request::Parts;

/// Set by the operator.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Names under which this box is reached, lower case, without a port: `relaybox.local`, `live.example.org`.
    /// IP addresses and `localhost` need no entry, because no foreign site can be reached under them.
    pub hosts: BTreeSet<String>,
    /// `/api/v1/streams` and `/api/v1/box` for everyone, not only for this machine and PIN sessions.
    pub api_open: bool,
    /// `/metrics` for everyone, not only for this machine.
    pub metrics_open: bool,
}

/// From where a request came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) peer: IpAddr,
    pub(crate) tls: bool,
}

/// A Host as it was sent, split.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host<'a> {
    /// With the port, as Origin repeats it.
    authority: &'a str,
    name: &'a str,
}

impl<'a> Host<'a> {
    /// `:authority` or an absolute request target goes before Host (RFC 9112 3.2.2).
    pub(crate) fn of(parts: &'a Parts) -> Option<Self> {
        let authority = match parts.uri.authority() {
            Some(authority) => authority.as_str(),
            None => parts.headers.get(HOST)?.to_str().ok()?,
        };
        Self::parse(authority)
    }

    fn parse(authority: &'a str) -> Option<Self> {
        let name = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?.0,
            None => authority.split_once(':').map_or(authority, |(name, _)| name),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        (!name.is_empty()).then_some(Self { authority, name })
    }

    fn ip(&self) -> Option<IpAddr> {
        self.name.parse().ok()
    }

    fn is_localhost(&self) -> bool {
        self.name.eq_ignore_ascii_case("localhost")
    }

    pub(crate) fn is_loopback(&self) -> bool {
        self.is_localhost() || self.ip().is_some_and(|ip| ip.to_canonical().is_loopback())
    }
}

impl Policy {
    /// Whether the Host is a name of this box. A foreign site that made its own name point here is not.
    pub(crate) fn admits(&self, host: Host<'_>) -> bool {
        host.is_localhost()
            || host.ip().is_some()
            || self.hosts.contains(host.name)
            || self.hosts.contains(&host.name.to_ascii_lowercase())
    }
}

impl Caller {
    /// A request that a proxy handed on, and says so: the peer is not who asks.
    pub(crate) fn is_forwarded(headers: &HeaderMap) -> bool {
        const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
        headers.contains_key(FORWARDED) || headers.contains_key(X_FORWARDED_FOR)
    }

    /// A request made on this machine to this machine, not handed on by a proxy that says so.
    pub(crate) fn is_this_machine(&self, host: Host<'_>, headers: &HeaderMap) -> bool {
        self.peer.to_canonical().is_loopback() && host.is_loopback() && !Self::is_forwarded(headers)
    }
}

/// Whether a state change comes from a page of this box or from no page at all.
///
/// Browsers send Origin with every POST and DELETE; Sec-Fetch-Site is a second witness. A client that sends neither
/// is no browser, so nobody's cookies ride along.
pub(crate) fn is_same_site(host: Host<'_>, headers: &HeaderMap) -> bool {
    const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    let origin = headers.get(ORIGIN).is_none_or(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host.authority))
    });
    let fetch = headers.get(SEC_FETCH_SITE).is_none_or(|site| site == "same-origin" || site == "none");
    origin && fetch
}

/// A form of a foreign page can't send this type without asking first (a CORS preflight, which is not answered).
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn host(authority: &str) -> Host<'_> {
        Host::parse(authority).unwrap()
    }

    #[test]
    fn only_names_of_the_box_are_admitted() {
        let policy = Policy { hosts: BTreeSet::from(["relaybox.local".to_owned()]), ..Policy::default() };
        for good in [
            "relaybox.local",
            "RelayBox.local:8080",
            "relaybox.local.",
            "localhost:80",
            "192.168.1.7:8080",
            "[fe80::1]:80",
        ] {
            assert!(policy.admits(host(good)), "{good}");
        }
        for bad in
            ["evil.example", "relaybox.local.evil.example", "localhost.evil.example", "127.0.0.1.nip.example"]
        {
            assert!(!policy.admits(host(bad)), "{bad}");
        }
        assert!(Host::parse("").is_none());
        assert!(Host::parse("[::1").is_none());
        assert!(Host::parse(":80").is_none());
    }

    #[test]
    fn a_foreign_page_is_another_site() {
        let check = |name: &'static str, value: &'static str| {
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
            is_same_site(host("relaybox.local:8080"), &headers)
        };
        assert!(check("origin", "http://relaybox.local:8080"));
        assert!(!check("origin", "http://relaybox.local"));
        assert!(!check("origin", "http://evil.example"));
        assert!(!check("origin", "null"));
        assert!(!check("sec-fetch-site", "cross-site"));
        assert!(!check("sec-fetch-site", "same-site"));
        assert!(check("sec-fetch-site", "same-origin"));
        assert!(is_same_site(host("relaybox.local"), &HeaderMap::new()));
    }

    #[test]
    fn this_machine_is_not_a_proxy_on_it() {
        let loopback = Caller { peer: "127.0.0.1".parse().unwrap(), tls: false };
        let lan = Caller { peer: "192.168.1.20".parse().unwrap(), tls: false };
        let none = HeaderMap::new();
        assert!(loopback.is_this_machine(host("localhost:8080"), &none));
        assert!(loopback.is_this_machine(host("[::1]:8080"), &none));
        assert!(!loopback.is_this_machine(host("live.example.org"), &none));
        assert!(!lan.is_this_machine(host("localhost:8080"), &none));
        let forwarded = HeaderMap::from_iter([(
            HeaderName::from_static("x-forwarded-for"),
            HeaderValue::from_static("1.2.3.4"),
        )]);
        assert!(!loopback.is_this_machine(host("localhost:8080"), &forwarded));
    }
}
