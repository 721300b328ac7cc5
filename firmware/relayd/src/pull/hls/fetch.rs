//! HTTP for pulling: one request at a time, bounded in time, bytes and redirects, and only to the host that was named.
//!
//! Its errors are for people, and have no address in them: addresses may hold keys.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::lint::resolve;
use crate::pull::Pulled;

const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Redirects of one request.
const REDIRECTS_MAX: u32 = 3;

#[derive(Clone, Debug)]
pub(super) struct Fetcher {
    agent: ureq::Agent,
    host: String,
    tls: bool,
}

#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) body: Vec<u8>,
    /// Where it was in the end.
    pub(super) url: String,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no connection: {0}")]
    Connection(std::io::Error),
    #[error("the host is not found")]
    Host,
    #[error("TLS: {0}")]
    Tls(String),
    #[error("no answer in time")]
    Time,
    #[error("the server answers {0}")]
    Status(u16),
    #[error("more than {0} bytes in one answer")]
    TooLong(u64),
    #[error("more than {REDIRECTS_MAX} redirects")]
    Redirects,
    #[error("it leads to another host, or from TLS to none: name that one instead")]
    Elsewhere,
    #[error("no answer that can be read")]
    Unreadable,
    #[error("the authorities for TLS can't be read")]
    Authorities,
}

impl FetchError {
    /// Whether another try would bring the same.
    pub(super) const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Tls(_) | Self::Elsewhere | Self::Redirects | Self::TooLong(_) | Self::Authorities
        )
    }
}

impl Fetcher {
    pub(super) fn new(pulled: &Pulled) -> Result<Self, FetchError> {
        let roots = match &pulled.wanted.authorities {
            None => RootCerts::WebPki,
            Some(file) => {
                let read =
                    CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
                let read = read.map_err(|_| FetchError::Authorities)?;
                let certificates: Vec<_> =
                    read.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
                RootCerts::new_with_certs(&certificates)
            }
        };
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_MAX))
            .max_redirects(0)
            .max_redirects_will_error(false)
            // What the environment says of proxies is not for what an operator named.
            .proxy(None)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .user_agent("relaybox")
            .build();
        let source = &pulled.wanted.source;
        Ok(Self { agent: config.new_agent(), host: source.host.clone(), tls: source.tls })
    }

    /// A whole resource, or a range of it: first byte and length.
    pub(super) async fn get(
        &self,
        url: String,
        range: Option<(u64, u64)>,
        bytes_max: u64,
        patience: Duration,
    ) -> Result<Fetched, FetchError> {
        let fetcher = self.clone();
        let fetch = move || fetcher.fetch(url, range, bytes_max, patience);
        tokio::task::spawn_blocking(fetch).await.unwrap_or(Err(FetchError::Unreadable))
    }

    fn fetch(
        &self,
        mut url: String,
        range: Option<(u64, u64)>,
        bytes_max: u64,
        patience: Duration,
    ) -> Result<Fetched, FetchError> {
        for _ in 0..=REDIRECTS_MAX {
            self.ensure_here(&url)?;
            let mut request = self.agent.get(&url).config().timeout_global(Some(patience)).build();
            if let Some((first, length)) = range {
                let last = first.saturating_add(length).saturating_sub(1);
                request = request.header("Range", format!("bytes={first}-{last}"));
            }
            let mut response = request.call().map_err(|error| said(error, bytes_max))?;
            match (response.status().as_u16(), range) {
                (200, None) | (206, Some(_)) => {
                    let body = response.body_mut().with_config().limit(bytes_max).read_to_vec();
                    return Ok(Fetched { body: body.map_err(|error| said(error, bytes_max))?, url });
                }
                (301 | 302 | 303 | 307 | 308, _) => {
                    let location = response.headers().get("location").and_then(|to| to.to_str().ok());
                    url = resolve(&url, location.ok_or(FetchError::Unreadable)?);
                }
                (status, _) => return Err(FetchError::Status(status)),
            }
        }
        Err(FetchError::Redirects)
    }

    /// A server must not make this box ask others, its household's machines among them.
    fn ensure_here(&self, url: &str) -> Result<(), FetchError> {
        let uri: http::Uri = url.parse().map_err(|_| FetchError::Unreadable)?;
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => !self.tls,
            _ => false,
        };
        if secure && host.eq_ignore_ascii_case(&self.host) { Ok(()) } else { Err(FetchError::Elsewhere) }
    }
}

/// In our own words: theirs may repeat the address.
fn said(error: ureq::Error, bytes_max: u64) -> FetchError {
    match error {
        ureq::Error::Io(error) => FetchError::Connection(error),
        ureq::Error::HostNotFound => FetchError::Host,
        ureq::Error::Timeout(_) => FetchError::Time,
        ureq::Error::BodyExceedsLimit(_) => FetchError::TooLong(bytes_max),
        ureq::Error::Rustls(error) => FetchError::Tls(error.to_string()),
        ureq::Error::Tls(what) => FetchError::Tls(what.to_owned()),
        _ => FetchError::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::*;
    use crate::pull::{PullFragment, Pulls, check};

    fn fetcher(url: &str) -> Fetcher {
        let wanted = check(vec![PullFragment::flag(&format!("demo={url}")).unwrap()]).unwrap();
        let pulls = Pulls::open(&wanted, ingest::Limits::default()).unwrap();
        Fetcher::new(&pulls.all[&wanted[0].name]).unwrap()
    }

    #[test]
    fn only_the_named_host_is_asked() {
        let check = |named: &str, asked: &str, fits: bool| {
            assert_eq!(fetcher(named).ensure_here(asked).is_ok(), fits, "{named} {asked}");
        };
        let named = "http://srs.example:8080/live/a.m3u8";
        check(named, "http://srs.example:8080/live/a-0.ts?k=1", true);
        check(named, "https://SRS.example/live/a-0.ts", true);
        check(named, "http://user:key@srs.example/a.ts", true);
        check(named, "http://srs.example.evil/a.ts", false);
        check(named, "http://srs.example@192.168.1.1/a.ts", false);
        check(named, "http://127.0.0.1/a.ts", false);
        check(named, "file:///etc/passwd", false);
        check("https://srs.example/a.m3u8", "http://srs.example/a.ts", false);
        check("http://[2001:db8::7]/a.m3u8", "http://[2001:db8::7]:81/a.ts", true);
    }

    /// Answers each request by its path, until the test ends.
    fn server() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
                let asked = lines.next().unwrap().unwrap();
                let path = asked.split(' ').nth(1).unwrap().to_owned();
                let (mut range, mut line) = (String::new(), lines.next().unwrap().unwrap());
                while !line.is_empty() {
                    if line.to_ascii_lowercase().starts_with("range: ") {
                        range = line[7..].to_owned();
                    }
                    line = lines.next().unwrap().unwrap();
                }
                let answer = match path.as_str() {
                    "/loop" => "302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n".to_owned(),
                    "/away" => {
                        "302 Found\r\nLocation: http://localhost/x\r\nContent-Length: 0\r\n\r\n".to_owned()
                    }
                    "/moved" => "302 Found\r\nLocation: new/a?k=1\r\nContent-Length: 0\r\n\r\n".to_owned(),
                    "/new/a?k=1" => "200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
                    "/range" => {
                        format!("206 Partial Content\r\nContent-Length: {}\r\n\r\n{range}", range.len())
                    }
                    "/big" => format!("200 OK\r\n\r\n{}", "x".repeat(4096)),
                    _ => "404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
                };
                let closing = answer.replacen("\r\n", "\r\nConnection: close\r\n", 1);
                let _ = write!(socket, "HTTP/1.1 {closing}");
            }
        });
        at
    }

    #[test]
    fn all_is_bounded_and_said_without_the_address() {
        let at = server();
        let fetcher = fetcher(&format!("{at}/a.m3u8?key=s3cret"));
        let patience = Duration::from_secs(10);
        let get = |path: &str, range| fetcher.fetch(format!("{at}{path}"), range, 1000, patience);
        let moved = get("/moved", None).unwrap();
        assert_eq!((&moved.body[..], moved.url), (&b"ok"[..], format!("{at}/new/a?k=1")));
        assert_eq!(get("/range", Some((5, 10))).unwrap().body, b"bytes=5-14");
        let said = |path: &str| get(path, None).unwrap_err().to_string();
        assert_eq!(said("/loop?key=s3cret"), "the server answers 404");
        assert_eq!(said("/loop"), "more than 3 redirects");
        assert_eq!(said("/away"), "it leads to another host, or from TLS to none: name that one instead");
        assert_eq!(said("/big"), "more than 1000 bytes in one answer");
        assert!(get("/loop", None).unwrap_err().is_final() && !get("/none", None).unwrap_err().is_final());
    }
}
