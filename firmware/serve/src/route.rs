//! What a path asks for. A pure match: no decoding, no normalising, so that one thing has one path.

use stream::{ObjectName, StreamName};
use trust::AccessToken;

use crate::setup::Step;

/// A path, split into the link that is to open it and what it asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked<'a> {
    /// The token of `/t/TOKEN/live/...`, as it was sent: it has the form of one and no more.
    pub(crate) token: Option<&'a str>,
    pub(crate) route: Route<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// `/`, `/studio`: a page by the name of its file.
    Page(&'static str),
    /// Anything else that is built in, by its path: `/assets/...`, icons.
    Asset(&'a str),
    Player(StreamName),
    Multivariant(StreamName),
    /// The media playlist of the moment, under a name that stays.
    Newest(StreamName),
    /// A media playlist by the name of its file.
    Playlist(StreamName, &'a str),
    Object(StreamName, ObjectName),
    /// What the origin signed of a part or of an epoch.
    Seal(StreamName, ObjectName),
    /// With which key.
    Signer(StreamName),
    Flv(StreamName),
    WatchList,
    Status(StreamName),
    Metrics,
    Health,
    ApiStreams,
    ApiBox,
    ApiSession,
    ApiStudio,
    ApiStudioStreams,
    ApiStudioStream(StreamName),
    ApiStudioKey(StreamName),
    ApiStudioAccess(StreamName),
    ApiStudioLinks(StreamName),
    /// What the box gives other boxes.
    ApiGiving,
    ApiSetup(Step),
    Unknown,
}

/// How a route is called in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Page,
    Asset,
    Multivariant,
    Playlist,
    Object,
    Flv,
    Status,
    Metrics,
    Health,
    Api,
    Unknown,
}

impl Kind {
    pub(crate) const ALL: [Self; 11] = [
        Self::Page,
        Self::Asset,
        Self::Multivariant,
        Self::Playlist,
        Self::Object,
        Self::Flv,
        Self::Status,
        Self::Metrics,
        Self::Health,
        Self::Api,
        Self::Unknown,
    ];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Asset => "asset",
            Self::Multivariant => "multivariant",
            Self::Playlist => "playlist",
            Self::Object => "object",
            Self::Flv => "flv",
            Self::Status => "status",
            Self::Metrics => "metrics",
            Self::Health => "health",
            Self::Api => "api",
            Self::Unknown => "unknown",
        }
    }

    /// Goes out after the gate, and without a look at the Host.
    pub(crate) const fn is_media(self) -> bool {
        matches!(self, Self::Multivariant | Self::Playlist | Self::Object | Self::Flv)
    }
}

impl<'a> Asked<'a> {
    /// Behind `/t/TOKEN` there is what belongs to one stream, and nothing else.
    pub(crate) fn of(path: &'a str) -> Self {
        let Some((token, path)) = path.strip_prefix("/t/").and_then(split_token) else {
            return Self { token: None, route: Route::of(path) };
        };
        let route = Route::of(path);
        Self { token: Some(token), route: if route.stream().is_some() { route } else { Route::Unknown } }
    }
}

/// `TOKEN` and the path behind it, which begins with its slash.
fn split_token(rest: &str) -> Option<(&str, &str)> {
    let (token, path) = rest.split_at(rest.find('/')?);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let fits = (1..=AccessToken::TEXT_MAX).contains(&token.len()) && token.bytes().all(plain);
    fits.then_some((token, path))
}

impl<'a> Route<'a> {
    pub(crate) fn of(path: &'a str) -> Self {
        match path {
            "/" => Self::Page("/index.html"),
            "/studio" => Self::Page("/studio.html"),
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Health,
            "/live/index.json" => Self::WatchList,
            _ => {
                if let Some(rest) = path.strip_prefix("/live/") {
                    return Self::live(rest).unwrap_or(Self::Unknown);
                }
                match path.strip_prefix("/api/v1/") {
                    Some(rest) => Self::api(rest).unwrap_or(Self::Unknown),
                    None => Self::Asset(path),
                }
            }
        }
    }

    fn live(rest: &'a str) -> Option<Self> {
        let Some((name, rest)) = rest.split_once('/') else {
            return match rest.strip_suffix(".flv") {
                Some(name) => name.parse().ok().map(Self::Flv),
                None => rest.parse().ok().map(Self::Player),
            };
        };
        let name = name.parse().ok()?;
        match rest {
            "index.m3u8" => Some(Self::Multivariant(name)),
            "media.m3u8" => Some(Self::Newest(name)),
            "status.json" => Some(Self::Status(name)),
            "signer.json" => Some(Self::Signer(name)),
            _ if rest.ends_with(".seal") => {
                let object: ObjectName = rest.strip_suffix(".seal")?.parse().ok()?;
                (!matches!(object, ObjectName::Segment(..))).then_some(Self::Seal(name, object))
            }
            _ if rest.ends_with(".m3u8") && !rest.contains('/') => Some(Self::Playlist(name, rest)),
            _ => rest.parse().ok().map(|object| Self::Object(name, object)),
        }
    }

    fn api(rest: &'a str) -> Option<Self> {
        match rest {
            "streams" => Some(Self::ApiStreams),
            "box" => Some(Self::ApiBox),
            "giving" => Some(Self::ApiGiving),
            "session" => Some(Self::ApiSession),
            "studio" => Some(Self::ApiStudio),
            "studio/streams" => Some(Self::ApiStudioStreams),
            _ => {
                if let Some(step) = Step::of(rest) {
                    return Some(Self::ApiSetup(step));
                }
                let rest = rest.strip_prefix("studio/streams/")?;
                let Some((name, what)) = rest.split_once('/') else {
                    return rest.parse().ok().map(Self::ApiStudioStream);
                };
                let name = name.parse().ok()?;
                match what {
                    "key" => Some(Self::ApiStudioKey(name)),
                    "access" => Some(Self::ApiStudioAccess(name)),
                    "links" => Some(Self::ApiStudioLinks(name)),
                    _ => None,
                }
            }
        }
    }

    /// Media, and how a stream is, are for pages elsewhere too: they carry `Access-Control-Allow-Origin: *`. Which
    /// streams there are, is not.
    pub(crate) const fn is_for_pages(&self) -> bool {
        matches!(self, Self::Status(_)) || self.kind().is_media()
    }

    /// The stream that is asked for, where it is a viewer who asks.
    pub(crate) const fn stream(&self) -> Option<&StreamName> {
        match self {
            Self::Player(name)
            | Self::Multivariant(name)
            | Self::Newest(name)
            | Self::Playlist(name, _)
            | Self::Object(name, _)
            | Self::Seal(name, _)
            | Self::Signer(name)
            | Self::Flv(name)
            | Self::Status(name) => Some(name),
            Self::Page(_)
            | Self::Asset(_)
            | Self::WatchList
            | Self::Metrics
            | Self::Health
            | Self::ApiStreams
            | Self::ApiBox
            | Self::ApiSession
            | Self::ApiStudio
            | Self::ApiStudioStreams
            | Self::ApiStudioStream(_)
            | Self::ApiStudioKey(_)
            | Self::ApiStudioAccess(_)
            | Self::ApiStudioLinks(_)
            | Self::ApiGiving
            | Self::ApiSetup(_)
            | Self::Unknown => None,
        }
    }

    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Page(_) | Self::Player(_) => Kind::Page,
            Self::Asset(_) => Kind::Asset,
            Self::Multivariant(_) | Self::Newest(_) => Kind::Multivariant,
            Self::Playlist(..) => Kind::Playlist,
            Self::Object(..) | Self::Seal(..) | Self::Signer(_) => Kind::Object,
            Self::Flv(_) => Kind::Flv,
            Self::WatchList | Self::Status(_) => Kind::Status,
            Self::Metrics => Kind::Metrics,
            Self::Health => Kind::Health,
            Self::ApiStreams
            | Self::ApiBox
            | Self::ApiSession
            | Self::ApiStudio
            | Self::ApiStudioStreams
            | Self::ApiStudioStream(_)
            | Self::ApiStudioKey(_)
            | Self::ApiStudioAccess(_)
            | Self::ApiStudioLinks(_)
            | Self::ApiGiving
            | Self::ApiSetup(_) => Kind::Api,
            Self::Unknown => Kind::Unknown,
        }
    }

    /// The methods besides OPTIONS, as the Allow header names them.
    pub(crate) const fn allow(&self) -> &'static str {
        match self {
            Self::ApiSession => "POST, DELETE, OPTIONS",
            Self::ApiStudioStreams | Self::ApiStudioKey(_) | Self::ApiStudioLinks(_) => "POST, OPTIONS",
            Self::ApiStudioAccess(_) => "PUT, OPTIONS",
            Self::ApiGiving => "GET, HEAD, PUT, OPTIONS",
            Self::ApiSetup(step) => step.allow(),
            Self::ApiStudioStream(_) => "DELETE, OPTIONS",
            _ => "GET, HEAD, OPTIONS",
        }
    }
}

#[cfg(test)]
mod tests {
    use stream::EpochId;

    use super::*;

    fn name() -> StreamName {
        "demo".parse().unwrap()
    }

    #[test]
    fn each_path_means_one_thing() {
        let epoch = EpochId(0x0123_4567_89ab_cdef);
        for (path, route) in [
            ("/", Route::Page("/index.html")),
            ("/studio", Route::Page("/studio.html")),
            ("/assets/app-1.js", Route::Asset("/assets/app-1.js")),
            ("/live/index.json", Route::WatchList),
            ("/live/demo", Route::Player(name())),
            ("/live/demo.flv", Route::Flv(name())),
            ("/live/demo/index.m3u8", Route::Multivariant(name())),
            ("/live/demo/media.m3u8", Route::Newest(name())),
            ("/live/demo/status.json", Route::Status(name())),
            ("/live/demo/0123456789abcdef.0.m3u8", Route::Playlist(name(), "0123456789abcdef.0.m3u8")),
            ("/live/demo/0123456789abcdef/init.mp4", Route::Object(name(), ObjectName::Init(epoch))),
            ("/live/demo/0123456789abcdef/7.2.m4s", Route::Object(name(), ObjectName::Part(epoch, 7, 2))),
            ("/live/demo/signer.json", Route::Signer(name())),
            ("/live/demo/0123456789abcdef/7.2.m4s.seal", Route::Seal(name(), ObjectName::Part(epoch, 7, 2))),
            ("/live/demo/0123456789abcdef/init.mp4.seal", Route::Seal(name(), ObjectName::Init(epoch))),
            ("/live/demo/0123456789abcdef/7.m4s.seal", Route::Unknown),
            ("/api/v1/studio/streams/demo", Route::ApiStudioStream(name())),
            ("/api/v1/studio/streams/demo/key", Route::ApiStudioKey(name())),
            ("/api/v1/studio/streams/demo/access", Route::ApiStudioAccess(name())),
            ("/api/v1/studio/streams/demo/links", Route::ApiStudioLinks(name())),
            ("/api/v1/giving", Route::ApiGiving),
            ("/api/v1/setup", Route::ApiSetup(Step::View)),
            ("/api/v1/setup/reset", Route::ApiSetup(Step::Reset)),
            ("/api/v1/setup/x", Route::Unknown),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }

    #[test]
    fn a_link_opens_what_belongs_to_a_stream() {
        let longest = "x".repeat(AccessToken::TEXT_MAX);
        for token in ["Aa0-_", &longest] {
            for (path, route) in [
                ("/live/demo", Route::Player(name())),
                ("/live/demo.flv", Route::Flv(name())),
                ("/live/demo/index.m3u8", Route::Multivariant(name())),
                ("/live/demo/status.json", Route::Status(name())),
            ] {
                let path = format!("/t/{token}{path}");
                assert_eq!(Asked::of(&path), Asked { token: Some(token), route }, "{path}");
            }
        }
        for rest in [
            "/",
            "/studio",
            "/metrics",
            "/live/index.json",
            "/api/v1/streams",
            "/assets/a.js",
            "/t/x/live/demo",
        ] {
            let path = format!("/t/x{rest}");
            assert_eq!(Asked::of(&path), Asked { token: Some("x"), route: Route::Unknown }, "{path}");
        }
        // No token: the path means nothing that is built in.
        for path in ["/t/", "/t//live/demo", "/t/a.b/live/demo", "/t/x", &format!("/t/{longest}x/live/demo")]
        {
            assert_eq!(Asked::of(path), Asked { token: None, route: Route::Asset(path) }, "{path}");
        }
    }

    #[test]
    fn nothing_else_means_anything() {
        for path in [
            "/live/",
            "/live/a.b/index.m3u8",
            "/live/%64emo",
            "/live/demo/",
            "/live/demo/../studio",
            "/live/demo/0123456789abcdef/07.m4s",
            "/live//index.m3u8",
            "/live/demo/x/index.m3u8",
            "/api/v1/",
            "/api/v1/studio/streams/",
            "/api/v1/studio/streams/a/b",
        ] {
            assert_eq!(Route::of(path), Route::Unknown, "{path}");
        }
    }
}
