//! PIN sessions: a random token in a cookie that the page's scripts can't read and other sites can't send.
//!
//! Sessions live in memory only: a restart of the box ends them all. It refuses to keep more than [`SESSIONS_MAX`]:
//! the oldest one goes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use http::header::COOKIE;
use tokio::time::Instant;

const SESSIONS_MAX: usize = 64;
const LIFETIME: Duration = Duration::from_secs(12 * 3600);
const COOKIE_NAME: &str = "relaybox-session";

type Token = [u8; 32];

#[derive(Default)]
pub(crate) struct Sessions {
    /// When each one was opened. The map's hash is keyed at random, so looking up tells nothing about a token.
    open: Mutex<HashMap<Token, Instant>>,
}

impl Sessions {
    /// Opens a session; gives the Set-Cookie value.
    pub(crate) fn open(&self, tls: bool) -> Result<String, getrandom::Error> {
        let mut token = Token::default();
        getrandom::fill(&mut token)?;
        let now = Instant::now();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, at| now.duration_since(*at) < LIFETIME);
        if open.len() >= SESSIONS_MAX
            && let Some(oldest) = open.iter().min_by_key(|(_, at)| **at).map(|(token, _)| *token)
        {
            open.remove(&oldest);
        }
        open.insert(token, now);
        let secure = if tls { "; Secure" } else { "" };
        let age = LIFETIME.as_secs();
        Ok(format!("{COOKIE_NAME}={}; HttpOnly; SameSite=Strict; Path=/; Max-Age={age}{secure}", hex(&token)))
    }

    pub(crate) fn is_open(&self, headers: &HeaderMap) -> bool {
        let Some(token) = token_of(headers) else { return false };
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(&token).is_some_and(|at| at.elapsed() < LIFETIME)
    }

    /// Ends the session of these headers; gives the Set-Cookie value that makes the browser forget it.
    pub(crate) fn close(&self, headers: &HeaderMap) -> String {
        if let Some(token) = token_of(headers) {
            self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&token);
        }
        format!("{COOKIE_NAME}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0")
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions")
    }
}

fn token_of(headers: &HeaderMap) -> Option<Token> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE_NAME)
        .and_then(|(_, value)| unhex(value))
}

fn hex(token: &Token) -> String {
    token.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Token> {
    let text = text.as_bytes();
    let mut token = Token::default();
    if text.len() != 2 * token.len() || !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in token.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(token)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn cookies(set_cookie: &str) -> HeaderMap {
        let pair = set_cookie.split(';').next().unwrap();
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&format!("a=b; {pair}")).unwrap())])
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_by_itself_or_when_told() {
        let sessions = Sessions::default();
        let first = sessions.open(false).unwrap();
        assert!(first.contains("; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200"), "{first}");
        assert!(!first.contains("Secure"));
        assert!(sessions.open(true).unwrap().ends_with("; Secure"));
        assert!(sessions.is_open(&cookies(&first)));
        sessions.close(&cookies(&first));
        assert!(!sessions.is_open(&cookies(&first)));

        let second = sessions.open(false).unwrap();
        tokio::time::advance(Duration::from_secs(43_199)).await;
        assert!(sessions.is_open(&cookies(&second)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!sessions.is_open(&cookies(&second)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_of_too_many_goes() {
        let sessions = Sessions::default();
        let mut opened = Vec::new();
        for _ in 0..65 {
            opened.push(cookies(&sessions.open(false).unwrap()));
            tokio::time::advance(Duration::from_millis(5)).await;
        }
        assert!(!sessions.is_open(&opened[0]));
        assert!(opened[1..].iter().all(|headers| sessions.is_open(headers)));
    }

    #[test]
    fn only_a_whole_token_is_one() {
        let sessions = Sessions::default();
        for bad in
            ["", "relaybox-session=", "relaybox-session=00", &format!("relaybox-session={}", "g".repeat(64))]
        {
            let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(bad).unwrap())]);
            assert!(!sessions.is_open(&headers));
        }
    }
}
