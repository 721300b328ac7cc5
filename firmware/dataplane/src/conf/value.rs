//! The values that stand after a `=`.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use super::{Endpoint, MTU_MAX, MTU_MIN};
use crate::allowed::{self, Prefix, PrefixError};
use crate::key::BadKey;

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    /// Never shown with the text itself, which may be most of a secret.
    #[error(transparent)]
    Key(#[from] BadKey),
    #[error("{text:?} {problem}")]
    Prefix { text: String, problem: PrefixError },
    #[error("{0:?} is no port: a number from 0 to 65535")]
    Port(String),
    #[error("{0:?} is no MTU: a number from {MTU_MIN} to {MTU_MAX}")]
    Mtu(String),
    #[error("{0:?} is no time: seconds from 0 to 65535, or `off`")]
    Keepalive(String),
    #[error(
        "{0:?} is no endpoint: `ADDRESS:PORT`, `[IPV6]:PORT` or `HOST:PORT`, with a port from 1 to 65535"
    )]
    Endpoint(String),
}

pub(super) fn key<T: FromStr<Err = BadKey>>(text: &str) -> Result<T, BadValue> {
    text.parse().map_err(BadValue::Key)
}

pub(super) fn port(text: &str) -> Result<u16, BadValue> {
    number(text).ok_or_else(|| BadValue::Port(text.to_owned()))
}

pub(super) fn mtu(text: &str) -> Result<u16, BadValue> {
    let mtu = number(text).filter(|mtu| (MTU_MIN..=MTU_MAX).contains(mtu));
    mtu.ok_or_else(|| BadValue::Mtu(text.to_owned()))
}

pub(super) fn address(text: &str) -> Result<(IpAddr, u8), BadValue> {
    allowed::parse(text).map_err(|problem| BadValue::Prefix { text: text.to_owned(), problem })
}

pub(super) fn prefix(text: &str) -> Result<Prefix, BadValue> {
    text.parse().map_err(|problem| BadValue::Prefix { text: text.to_owned(), problem })
}

pub(super) fn keepalive(text: &str) -> Result<Option<Duration>, BadValue> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let seconds: u16 = number(text).ok_or_else(|| BadValue::Keepalive(text.to_owned()))?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds.into())))
}

pub(super) fn endpoint(text: &str) -> Result<Endpoint, BadValue> {
    let bad = || BadValue::Endpoint(text.to_owned());
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 { Err(bad()) } else { Ok(Endpoint::Address(address)) };
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let port = number(port).filter(|port| *port != 0).ok_or_else(bad)?;
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    // 253 letters are the longest name of a host (RFC 1035, 2.3.4, without the lengths). A name that ends in a
    // number is an address that went wrong.
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let is_name = (1..=253).contains(&host.len())
        && host.bytes().all(is_letter)
        && !last.is_empty()
        && !last.bytes().all(|byte| byte.is_ascii_digit());
    if is_name { Ok(Endpoint::Name(host.to_owned(), port)) } else { Err(bad()) }
}

/// Digits only: no sign, no white space.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
