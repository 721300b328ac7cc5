//! Where the coordinator is. Refuses everything but `https://HOST` or `https://HOST:PORT`: paths, user names and other
//! schemes have no place in an invite.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::net::Ipv6Addr;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// `https://HOST[:PORT]` in small letters, at most [`Self::BYTES_MAX`] bytes; an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CoordinatorUrl(Box<str>);

/// The text is not a coordinator's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a coordinator's address is https://HOST or https://HOST:PORT, in small letters")]
pub struct BadUrl;

impl CoordinatorUrl {
    pub const BYTES_MAX: usize = 160;

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host alone: a name, or an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let rest = self.0.strip_prefix("https://").unwrap_or(&self.0);
        match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => rest.split_once(':').map_or(rest, |(host, _)| host),
        }
    }
}

impl FromStr for CoordinatorUrl {
    type Err = BadUrl;
    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let rest = text.strip_prefix("https://").ok_or(BadUrl)?;
        if text.len() > Self::BYTES_MAX {
            return Err(BadUrl);
        }
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((ip, rest)) => {
                let address = ip.parse::<Ipv6Addr>().map_err(|_| BadUrl)?;
                if alloc::string::ToString::to_string(&address) != ip {
                    return Err(BadUrl);
                }
                (None, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(BadUrl)?) })
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (Some(host), Some(port)),
                None => (Some(rest), None),
            },
        };
        let good = host.is_none_or(is_host) && port.is_none_or(is_port);
        if good { Ok(Self(text.into())) } else { Err(BadUrl) }
    }
}

fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(plain) && !label.starts_with('-')
    };
    host.split('.').all(label)
}

fn is_port(port: &str) -> bool {
    let digits = port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
    digits && port.parse::<u16>().is_ok()
}

impl TryFrom<String> for CoordinatorUrl {
    type Error = BadUrl;
    fn try_from(text: String) -> Result<Self, BadUrl> {
        text.parse()
    }
}
impl From<CoordinatorUrl> for String {
    fn from(url: CoordinatorUrl) -> String {
        url.0.into()
    }
}
impl fmt::Display for CoordinatorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_and_ports() {
        for good in
            ["https://a", "https://c.example.org:8443", "https://192.0.2.1", "https://[2001:db8::1]:1"]
        {
            assert_eq!(good.parse::<CoordinatorUrl>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "https://",
            "http://a",
            "https://A",
            "https://a/",
            "https://u@a",
            "https://a:0",
            "https://a:65536",
            "https://a:",
            "https://a..b",
            "https://[::1",
            "https://[::1]x",
            "https://[::1]:",
            "https://[0:0::1]",
            "https://a?b",
            "https://-a",
            "https://a:+1",
        ] {
            assert_eq!(bad.parse::<CoordinatorUrl>(), Err(BadUrl), "{bad}");
        }
    }
}
