//! HTTP for the lint: blocking, bounded in time and size, and honest about status codes.

use std::io::Read;
use std::time::{Duration, Instant};

use anyhow::Context;

/// No playlist or segment is larger.
const BODY_BYTES_MAX: u64 = 128 << 20;
const CONNECT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) cache_control: String,
    pub(crate) retry_after_s: Option<u64>,
    pub(crate) body: Vec<u8>,
    pub(crate) took: Duration,
}

impl Client {
    /// With `insecure`, certificates are not checked: a box makes its own.
    pub(crate) fn new(insecure: bool) -> Self {
        let tls = ureq::tls::TlsConfig::builder().disable_verification(insecure).build();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .max_redirects(5)
            .tls_config(tls)
            .user_agent("relayd-lint")
            .build();
        Self { agent: config.new_agent() }
    }

    pub(crate) fn get(&self, url: &str, patience: Duration) -> anyhow::Result<Response> {
        self.get_range(url, None, patience)
    }

    /// What comes of a resource within a time: a live stream never ends.
    pub(crate) fn sample(&self, url: &str, time: Duration, bytes_max: u64) -> anyhow::Result<Vec<u8>> {
        let request = self.agent.get(url).config().timeout_recv_body(Some(time)).build();
        let mut response = request.call().with_context(|| format!("no answer from {url}"))?;
        let status = response.status().as_u16();
        anyhow::ensure!(status == 200, "{url} got {status}");
        let mut out = Vec::new();
        let read = response.body_mut().as_reader().take(bytes_max).read_to_end(&mut out);
        match read {
            Err(error) if out.is_empty() => Err(error).with_context(|| format!("nothing came from {url}")),
            Ok(_) | Err(_) => Ok(out),
        }
    }

    /// Gets a resource or a sub-range of `(offset, length)` bytes of it.
    pub(crate) fn get_range(
        &self,
        url: &str,
        range: Option<(u64, u64)>,
        patience: Duration,
    ) -> anyhow::Result<Response> {
        let begun = Instant::now();
        let mut request = self.agent.get(url).config().timeout_global(Some(patience)).build();
        if let Some((offset, length)) = range {
            let last = offset.saturating_add(length).saturating_sub(1);
            request = request.header("Range", format!("bytes={offset}-{last}"));
        }
        let mut response = request.call().with_context(|| format!("no answer from {url}"))?;
        let header = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (content_type, cache_control) = (header("content-type"), header("cache-control"));
        let retry_after_s = header("retry-after").parse().ok();
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_vec();
        let body = body.with_context(|| format!("the answer from {url} broke off"))?;
        Ok(Response { status, content_type, cache_control, retry_after_s, body, took: begun.elapsed() })
    }
}

impl Response {
    pub(crate) fn ok(&self) -> bool {
        self.status == 200 || self.status == 206
    }

    /// The seconds that caches may keep it for, if it says so.
    pub(crate) fn max_age_s(&self) -> Option<u64> {
        let directives = self.cache_control.split(',').map(|directive| directive.trim().to_ascii_lowercase());
        let mut max_age = None;
        for directive in directives {
            if directive == "no-store" || directive == "no-cache" {
                return Some(0);
            }
            max_age = directive.strip_prefix("max-age=").and_then(|age| age.parse().ok()).or(max_age);
        }
        max_age
    }
}

/// Resolves a reference against a URL (RFC 3986 5.2), as far as playlists use it.
pub(crate) fn resolve(base: &str, reference: &str) -> String {
    if reference.contains("://") {
        return reference.to_owned();
    }
    let scheme_end = base.find("://").map_or(0, |at| at + 3);
    if let Some(rest) = reference.strip_prefix("//") {
        return format!("{}{rest}", &base[..scheme_end]);
    }
    let bare = base.split(['?', '#']).next().unwrap_or(base);
    let path_at = bare[scheme_end..].find('/').map_or(bare.len(), |at| scheme_end + at);
    let (origin, path) = bare.split_at(path_at);
    let (reference, query) = reference.split_at(reference.find('?').unwrap_or(reference.len()));
    let joined = if reference.starts_with('/') {
        reference.to_owned()
    } else {
        format!("{}/{reference}", path.rsplit_once('/').map_or("", |(directory, _)| directory))
    };
    let mut segments: Vec<&str> = Vec::new();
    for segment in joined.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    format!("{origin}/{}{query}", segments.join("/"))
}

/// A URL with one more query parameter or several.
pub(crate) fn with_query(url: &str, query: &str) -> String {
    format!("{url}{}{query}", if url.contains('?') { '&' } else { '?' })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_resolve() {
        for (base, reference, expected) in [
            ("http://a/live/n/index.m3u8?x=1", "0a.0.m3u8", "http://a/live/n/0a.0.m3u8"),
            ("http://a/live/n/index.m3u8", "../o/1.m4s?y=/", "http://a/live/o/1.m4s?y=/"),
            ("http://a/live/n/index.m3u8", "/x.ts", "http://a/x.ts"),
            ("http://a:80", "x.ts", "http://a:80/x.ts"),
            ("https://a/b", "//c/d", "https://c/d"),
            ("https://a/b", "http://c/d", "http://c/d"),
        ] {
            assert_eq!(resolve(base, reference), expected);
        }
    }
}
