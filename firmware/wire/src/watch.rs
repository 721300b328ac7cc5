//! Where viewers find something: a box, or the watch page. Refuses paths, user names, queries and other schemes, so that
//! what stands behind an address is always a path of ours.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use serde::{Deserialize, Serialize};
use trust::List;
use trust::ticket::CoordinatorUrl;

/// `http://HOST[:PORT]` or `https://HOST[:PORT]` in small letters, at most [`Self::BYTES_MAX`] bytes; no slash behind it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WatchUrl(Box<str>);

/// Of one box: at home, in the mesh, and on the internet.
pub type WatchUrls = List<WatchUrl, { WatchUrl::PER_BOX_MAX }>;

/// The text is not an address for viewers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an address for viewers is http://HOST, https://HOST, or either with :PORT, in small letters")]
pub struct BadWatchUrl;

impl WatchUrl {
    pub const BYTES_MAX: usize = CoordinatorUrl::BYTES_MAX - 1;
    pub const PER_BOX_MAX: usize = 8;

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// The host alone: a name, or an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let rest = self.0.split_once("://").map_or(&*self.0, |(_, rest)| rest);
        match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => rest.split_once(':').map_or(rest, |(host, _)| host),
        }
    }

    /// The host where it is an address and no name.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host().parse().ok()
    }
}

impl FromStr for WatchUrl {
    type Err = BadWatchUrl;
    fn from_str(text: &str) -> Result<Self, BadWatchUrl> {
        let rest =
            text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).ok_or(BadWatchUrl)?;
        // One rule for hosts and ports.
        format!("https://{rest}").parse::<CoordinatorUrl>().map_err(|_| BadWatchUrl)?;
        if text.len() <= Self::BYTES_MAX { Ok(Self(text.into())) } else { Err(BadWatchUrl) }
    }
}

impl TryFrom<String> for WatchUrl {
    type Error = BadWatchUrl;
    fn try_from(text: String) -> Result<Self, BadWatchUrl> {
        text.parse()
    }
}
impl From<WatchUrl> for String {
    fn from(url: WatchUrl) -> String {
        url.0.into()
    }
}
impl fmt::Display for WatchUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_schemes_hosts_and_ports() {
        for (good, host) in [
            ("http://192.168.1.7:8080", "192.168.1.7"),
            ("http://relaybox.local:8080", "relaybox.local"),
            ("https://live.example.org", "live.example.org"),
            ("http://[fd00::7]:8080", "fd00::7"),
        ] {
            assert_eq!(good.parse::<WatchUrl>().unwrap().host(), host);
        }
        for bad in [
            "",
            "http://",
            "ftp://a",
            "http://a/",
            "http://u@a",
            "http://A",
            "http://a?b",
            "//a",
            "http://a:0",
        ] {
            assert_eq!(bad.parse::<WatchUrl>(), Err(BadWatchUrl), "{bad}");
        }
    }
}
