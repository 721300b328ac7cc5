//! What shall be pulled: a stream's name and the address of another server, checked. Plain functions.
//!
//! Addresses may hold keys: in user info, path and query. Nothing but the host ever leaves this module as text, and
//! no error repeats more of an address.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use http::Uri;
use ingest::session::PlayRequest;
use serde::Deserialize;
use stream::StreamName;

use crate::secrets::Secret;

/// Streams that one box pulls.
pub(crate) const PULLS_MAX: usize = 16;
const RTMP_PORT: u16 = 1935;
const RTMPS_PORT: u16 = 443;
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// `[[pull]]` in the settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PullFragment {
    /// How the stream is called here.
    pub(crate) name: String,
    /// `rtmp://`, `rtmps://`, or the `http(s)://` address of an HLS playlist.
    pub(crate) url: Secret,
    /// PEM file with whom to trust for `rtmps` and `https`, in place of the public authorities.
    pub(crate) authorities: Option<PathBuf>,
}

impl PullFragment {
    /// From the command line: `NAME=URL`.
    pub(crate) fn flag(said: &str) -> Result<Self> {
        let (name, url) = said.split_once('=').context("--pull: NAME=URL")?;
        Ok(Self { name: name.to_owned(), url: Secret::new(url), authorities: None })
    }
}

/// One stream to pull.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) name: StreamName,
    pub(crate) source: Source,
    pub(crate) authorities: Option<PathBuf>,
}

#[derive(Clone)]
pub(crate) struct Source {
    /// A name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) way: Way,
}

/// How it is asked.
#[derive(Clone)]
pub(crate) enum Way {
    Rtmp(PlayRequest),
    /// The playlist's address, whole.
    Hls(Uri),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("host", &self.label()).finish_non_exhaustive()
    }
}

/// Checks all of them together.
pub(crate) fn check(fragments: Vec<PullFragment>) -> Result<Vec<Wanted>> {
    ensure!(fragments.len() <= PULLS_MAX, "pull: at most {PULLS_MAX} streams");
    let mut all: Vec<Wanted> = Vec::new();
    for PullFragment { name, url, authorities } in fragments {
        let name: StreamName = name.parse().with_context(|| format!("pull: {name:?}"))?;
        ensure!(all.iter().all(|other| other.name != name), "pull: {name} is there twice");
        let source = Source::parse(url.expose()).with_context(|| format!("pull: the url of {name}"))?;
        all.push(Wanted { name, source, authorities });
    }
    Ok(all)
}

impl Source {
    fn parse(url: &str) -> Result<Self> {
        // The parser's own errors say what is wrong and repeat nothing.
        let uri: Uri = url.parse().context("is no address")?;
        let authority = uri.authority().context("is no address with a host")?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        ensure!(!host.is_empty(), "names no host");
        let bare = authority.as_str().rsplit('@').next().unwrap_or_default();
        let behind = bare.get(authority.host().len()..).unwrap_or_default();
        let port = |usual: u16| match behind.strip_prefix(':') {
            None if behind.is_empty() => Ok(usual),
            None => bail!("names no host"),
            Some(port) => port.parse().ok().filter(|port| *port > 0).context("has a port that is none"),
        };
        let scheme = uri.scheme_str().unwrap_or_default();
        match scheme {
            "rtmp" | "rtmps" => {
                ensure!(!authority.as_str().contains('@'), "has a user before the host, which RTMP has not");
                let tls = scheme == "rtmps";
                let port = port(if tls { RTMPS_PORT } else { RTMP_PORT })?;
                let request = play_request(&uri).context("is not rtmp://HOST/APP/STREAM")?;
                Ok(Self { host, port, tls, way: Way::Rtmp(request) })
            }
            "http" | "https" => {
                let is_playlist = uri.path().to_ascii_lowercase().ends_with(".m3u8");
                ensure!(is_playlist, "is no HLS playlist: it has to end in .m3u8, before a query");
                let tls = scheme == "https";
                let port = port(if tls { HTTPS_PORT } else { HTTP_PORT })?;
                Ok(Self { host, port, tls, way: Way::Hls(uri) })
            }
            _ => bail!("begins with none of rtmp://, rtmps://, http:// and https://"),
        }
    }

    /// What may be shown: the host, and a port that is not the usual one.
    pub(crate) fn label(&self) -> String {
        let usual = match (&self.way, self.tls) {
            (Way::Rtmp(_), false) => RTMP_PORT,
            (Way::Rtmp(_), true) => RTMPS_PORT,
            (Way::Hls(_), false) => HTTP_PORT,
            (Way::Hls(_), true) => HTTPS_PORT,
        };
        match (self.port == usual, self.host.contains(':')) {
            (true, _) => self.host.clone(),
            (false, false) => format!("{}:{}", self.host, self.port),
            (false, true) => format!("[{}]:{}", self.host, self.port),
        }
    }
}

/// The last part of the path is the stream, with the query; what is before it is the application.
fn play_request(uri: &Uri) -> Option<PlayRequest> {
    let (app, name) = uri.path().trim_start_matches('/').rsplit_once('/')?;
    let app = app.trim_matches('/');
    if app.is_empty() || name.is_empty() {
        return None;
    }
    let stream = match uri.query() {
        Some(query) => format!("{name}?{query}"),
        None => name.to_owned(),
    };
    let tc_url = format!("{}://{}/{app}", uri.scheme_str()?, uri.authority()?);
    Some(PlayRequest { app: app.to_owned(), tc_url, stream })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(url: &str, expected: &str) {
        let source = Source::parse(url).unwrap();
        assert_eq!(source.label(), expected);
        let debug = format!("{source:?}");
        assert!(!debug.contains("s3cret"), "{debug}");
    }

    #[test]
    fn only_the_host_is_shown() {
        label("rtmp://srs.example/live/ana?key=s3cret", "srs.example");
        label("rtmp://srs.example:19350/live/s3cret", "srs.example:19350");
        label("rtmps://[2001:db8::7]:1936/live/s3cret", "[2001:db8::7]:1936");
        label("rtmps://[2001:db8::7]/live/s3cret", "2001:db8::7");
        label("https://ana:s3cret@cdn.example/live/ana.m3u8?token=s3cret", "cdn.example");
        label("http://10.0.0.7:8080/live/ana.m3u8", "10.0.0.7:8080");
    }

    fn request(url: &str, app: &str, tc_url: &str, stream: &str) {
        let Way::Rtmp(request) = Source::parse(url).unwrap().way else { panic!("{url}") };
        assert_eq!((&*request.app, &*request.tc_url, &*request.stream), (app, tc_url, stream));
    }

    #[test]
    fn an_address_is_split_as_servers_read_it() {
        request("rtmp://a/live/ana", "live", "rtmp://a/live", "ana");
        request("rtmp://a:1936/live/ana?vhost=b&k=c/d", "live", "rtmp://a:1936/live", "ana?vhost=b&k=c/d");
        request("rtmps://a/app/instance/ana", "app/instance", "rtmps://a/app/instance", "ana");
    }

    #[test]
    fn a_mistake_is_named_and_the_address_is_not() {
        let check = |url: &str, expected: &str| {
            let fragment = PullFragment::flag(&format!("ana={url}")).unwrap();
            let error = format!("{:#}", check(vec![fragment]).unwrap_err());
            assert!(error.contains(expected) && error.contains("ana"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        };
        check("rtmp://srs.example/s3cret", "is not rtmp://HOST/APP/STREAM");
        check("rtmp://srs.example/live/", "is not rtmp://HOST/APP/STREAM");
        check("rtmp://ana:s3cret@srs.example/live/x", "a user before the host");
        check("srt://srs.example/s3cret", "begins with none of");
        check("live/s3cret", "is no address");
        check("http://srs.example/s3cret.flv", "is no HLS playlist");
        check("rtmp://srs.example:0/live/s3cret", "a port that is none");
        check("rtmp://srs.example:99999/live/s3cret", "a port that is none");
    }

    #[test]
    fn names_are_checked() {
        let flags = |names: &[&str]| {
            let fragments = names.iter().map(|name| PullFragment::flag(&format!("{name}=rtmp://a/b/c")));
            check(fragments.collect::<Result<_>>().unwrap()).map_err(|error| format!("{error:#}"))
        };
        assert_eq!(flags(&["a", "b"]).unwrap().len(), 2);
        assert_eq!(flags(&["a", "a"]).unwrap_err(), "pull: a is there twice");
        assert!(flags(&["a b"]).unwrap_err().contains("pull: \"a b\""));
        let many: Vec<String> = (0..17).map(|n| format!("s{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(flags(&many).unwrap_err(), "pull: at most 16 streams");
        assert!(PullFragment::flag("rtmp://a/b/c").is_err());
    }
}
