//! What a child asks for, as paths and back. Refuses every other spelling with a sentence for the log.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use stream::StreamName;
use stream::seal::BLOCKS_MAX;
use trust::key::Fingerprint;

use super::frame::PartName;

const PREFIX: &str = "/relay/1/";
/// Stripes of a feed.
const STRIPES_MAX: u8 = 16;
/// Blocks of one request: as many as a part of 8 Mbit/s has in two seconds.
const BLOCKS_ASKED_MAX: usize = 128;

/// GET, on a parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Feed(FeedRequest),
    Blocks(BlocksRequest),
}

/// Items of all parts, and the blocks of some stripes as the parent gets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedRequest {
    pub name: StreamName,
    /// From 1 to 16.
    pub of: u8,
    /// Bit i is stripe i; 0 asks for items alone.
    pub stripes: u16,
    /// The coordinator named this parent for them: they go before what others take without being told.
    pub planned: bool,
    /// Another child of the parent's that gave them to this one and has failed: its place is asked for.
    pub instead: Option<Fingerprint>,
    /// The first part that is wanted; none: where the parent thinks that watching can begin.
    pub from: Option<PartName>,
}

/// Some blocks of one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlocksRequest {
    pub name: StreamName,
    pub part: PartName,
    /// From 1 to 128 of them.
    pub blocks: Vec<u16>,
}

/// Nothing that a box serves to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// 404.
    #[error("there is nothing under this path")]
    Path,
    /// 400.
    #[error("the query lacks something, or says it in a way that is not allowed: {0}")]
    Query(&'static str),
}

impl fmt::Display for FeedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}/feed?of={}&stripes={}", self.name, self.of, self.stripes)?;
        if self.planned {
            write!(f, "&planned=1")?;
        }
        if let Some(instead) = &self.instead {
            write!(f, "&instead={instead}")?;
        }
        match &self.from {
            Some(from) => write!(f, "&from={from}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for BlocksRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}/blocks?part={}&i=", self.name, self.part)?;
        for (nth, block) in self.blocks.iter().enumerate() {
            write!(f, "{}{block}", if nth > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl Request {
    /// # Errors
    /// [`BadRequest`].
    pub fn parse(path: &str, query: Option<&str>) -> Result<Self, BadRequest> {
        let (name, verb) =
            path.strip_prefix(PREFIX).and_then(|rest| rest.split_once('/')).ok_or(BadRequest::Path)?;
        let name: StreamName = name.parse().map_err(|_| BadRequest::Path)?;
        let query = query.unwrap_or_default();
        match verb {
            "feed" => feed(name, query).map(Self::Feed),
            "blocks" => blocks(name, query).map(Self::Blocks),
            _ => Err(BadRequest::Path),
        }
    }

    #[must_use]
    pub const fn name(&self) -> &StreamName {
        match self {
            Self::Feed(request) => &request.name,
            Self::Blocks(request) => &request.name,
        }
    }
}

/// The value of a key; keys that are not known are passed over, since a newer child may say more.
fn value<'a>(query: &'a str, key: &str) -> Option<&'a str> {
    query
        .split('&')
        .find_map(|pair| pair.split_once('=').filter(|(found, _)| *found == key))
        .map(|pair| pair.1)
}

fn feed(name: StreamName, query: &str) -> Result<FeedRequest, BadRequest> {
    let of = value(query, "of").and_then(|of| of.parse().ok()).filter(|of| (1..=STRIPES_MAX).contains(of));
    let of = of.ok_or(BadRequest::Query("of"))?;
    let stripes: u16 =
        value(query, "stripes").and_then(|text| text.parse().ok()).ok_or(BadRequest::Query("stripes"))?;
    if u32::from(stripes) >> of != 0 {
        return Err(BadRequest::Query("stripes"));
    }
    let from = value(query, "from").map(str::parse).transpose().map_err(|_| BadRequest::Query("from"))?;
    let planned = value(query, "planned") == Some("1");
    let instead =
        value(query, "instead").map(str::parse).transpose().map_err(|_| BadRequest::Query("instead"))?;
    Ok(FeedRequest { name, of, stripes, planned, instead, from })
}

fn blocks(name: StreamName, query: &str) -> Result<BlocksRequest, BadRequest> {
    let part = value(query, "part").and_then(|part| part.parse().ok()).ok_or(BadRequest::Query("part"))?;
    let list = value(query, "i").ok_or(BadRequest::Query("i"))?;
    let blocks: Vec<u16> = list
        .split(',')
        .take(BLOCKS_ASKED_MAX + 1)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|_| BadRequest::Query("i"))?;
    let known = blocks.iter().all(|block| usize::from(*block) < BLOCKS_MAX);
    if blocks.len() > BLOCKS_ASKED_MAX || !known {
        return Err(BadRequest::Query("i"));
    }
    Ok(BlocksRequest { name, part, blocks })
}

impl From<Request> for String {
    fn from(request: Request) -> Self {
        match request {
            Request::Feed(request) => alloc::format!("{request}"),
            Request::Blocks(request) => alloc::format!("{request}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use stream::EpochId;

    use super::*;

    fn parse(text: &str) -> Result<Request, BadRequest> {
        let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
        Request::parse(path, query)
    }

    #[test]
    fn requests_are_read_back() {
        let part = PartName { epoch: EpochId(0xab), msn: 12, part: 0 };
        let name: StreamName = "ana".parse().unwrap();
        let feed = |from| FeedRequest {
            name: name.clone(),
            of: 4,
            stripes: 5,
            planned: from == Some(part),
            instead: None,
            from,
        };
        let other = trust::BoxSecret::from_seed(&[7; 32]).public().fingerprint();
        let heir = FeedRequest { instead: Some(other), ..feed(None) };
        for request in [
            Request::Feed(feed(None)),
            Request::Feed(feed(Some(part))),
            Request::Feed(heir),
            Request::Blocks(BlocksRequest { name: name.clone(), part, blocks: vec![0, 7, 1023] }),
        ] {
            assert_eq!(parse(&String::from(request.clone())), Ok(request));
        }
        assert_eq!(
            String::from(Request::Feed(feed(Some(part)))),
            "/relay/1/ana/feed?of=4&stripes=5&planned=1&from=00000000000000ab.12.0"
        );
    }

    #[test]
    fn everything_else_is_refused() {
        for (text, error) in [
            ("/relay/2/ana/feed?of=4&stripes=5", BadRequest::Path),
            ("/relay/1/a%20/feed?of=4&stripes=5", BadRequest::Path),
            ("/relay/1/ana/other", BadRequest::Path),
            ("/relay/1/ana/feed", BadRequest::Query("of")),
            ("/relay/1/ana/feed?of=17&stripes=1", BadRequest::Query("of")),
            ("/relay/1/ana/feed?of=4&stripes=16", BadRequest::Query("stripes")),
            ("/relay/1/ana/feed?of=4&stripes=1&from=ab.1.1", BadRequest::Query("from")),
            ("/relay/1/ana/feed?of=4&stripes=1&from=00000000000000ab.01.1", BadRequest::Query("from")),
            ("/relay/1/ana/feed?of=4&stripes=1&instead=ana", BadRequest::Query("instead")),
            ("/relay/1/ana/blocks?part=00000000000000ab.1.1", BadRequest::Query("i")),
            ("/relay/1/ana/blocks?part=00000000000000ab.1.1&i=", BadRequest::Query("i")),
            ("/relay/1/ana/blocks?part=00000000000000ab.1.1&i=1024", BadRequest::Query("i")),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
        let many = "0,".repeat(128);
        let text = alloc::format!("/relay/1/ana/blocks?part=00000000000000ab.1.1&i={many}0");
        assert_eq!(parse(&text), Err(BadRequest::Query("i")));
        assert!(parse("/relay/1/ana/feed?of=4&stripes=0&later=1").is_ok());
    }
}
