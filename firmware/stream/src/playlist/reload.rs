//! Delivery directives of a playlist request (RFC 8216bis 6.2.5), parsed strictly.
//!
//! Parameters that do not begin with `_HLS_`, and directives this specification does not know, are passed over.

/// What a viewer asked of a media playlist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// `_HLS_msn`: answer once this media sequence number is in the playlist.
    pub msn: Option<u64>,
    /// `_HLS_part`: answer once this part of it is; never without `msn`.
    pub part: Option<u32>,
    pub skip: Skip,
}

/// `_HLS_skip`: whether a delta update will do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Skip {
    #[default]
    No,
    Yes,
    /// Also dateranges may be skipped; as we have none, the same as `Yes`.
    V2,
}

/// The query's directives are malformed: answer 400 with this text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadQuery(pub &'static str);

impl Reload {
    /// Parses the query of a playlist's URI, without the question mark; an empty one asks for nothing.
    pub fn parse(query: &str) -> Result<Self, BadQuery> {
        let mut reload = Self::default();
        let mut skip = None;
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "_HLS_msn" => {
                    let msn = number(value).ok_or(BadQuery("_HLS_msn is not a decimal integer"))?;
                    once(&mut reload.msn, msn, "_HLS_msn is given twice")?;
                }
                "_HLS_part" => {
                    let part = number(value).ok_or(BadQuery("_HLS_part is not a decimal integer"))?;
                    // No segment has so many parts, so that the largest index stands for all above it.
                    let part = u32::try_from(part).unwrap_or(u32::MAX);
                    once(&mut reload.part, part, "_HLS_part is given twice")?;
                }
                "_HLS_skip" => {
                    let value = match value {
                        "YES" => Skip::Yes,
                        "v2" => Skip::V2,
                        _ => return Err(BadQuery("_HLS_skip is neither YES nor v2")),
                    };
                    once(&mut skip, value, "_HLS_skip is given twice")?;
                }
                _ => {}
            }
        }
        if reload.part.is_some() && reload.msn.is_none() {
            return Err(BadQuery("_HLS_part without _HLS_msn")); // RFC 8216bis 6.2.5.2
        }
        reload.skip = skip.unwrap_or_default();
        Ok(reload)
    }
}

fn once<T>(slot: &mut Option<T>, value: T, twice: &'static str) -> Result<(), BadQuery> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(BadQuery(twice)),
    }
}

fn number(value: &str) -> Option<u64> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    if digits { value.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: Result<(Option<u64>, Option<u32>, Skip), &'static str>) {
        let expected = match expected {
            Ok((msn, part, skip)) => Ok(Reload { msn, part, skip }),
            Err(text) => Err(BadQuery(text)),
        };
        assert_eq!(Reload::parse(query), expected, "{query}");
    }

    #[test]
    fn directives_are_read() {
        check("", Ok((None, None, Skip::No)));
        check("_HLS_msn=7", Ok((Some(7), None, Skip::No)));
        check("_HLS_msn=7&_HLS_part=0&_HLS_skip=YES", Ok((Some(7), Some(0), Skip::Yes)));
        check("a=b&_HLS_skip=v2&&x&_HLS_other=1", Ok((None, None, Skip::V2)));
        check("_HLS_part=99999999999&_HLS_msn=0", Ok((Some(0), Some(u32::MAX), Skip::No)));
    }

    #[test]
    fn malformed_directives_are_refused() {
        check("_HLS_part=1", Err("_HLS_part without _HLS_msn"));
        check("_HLS_msn", Err("_HLS_msn is not a decimal integer"));
        check("_HLS_msn=-1", Err("_HLS_msn is not a decimal integer"));
        check("_HLS_msn=+1", Err("_HLS_msn is not a decimal integer"));
        check("_HLS_msn=18446744073709551616", Err("_HLS_msn is not a decimal integer"));
        check("_HLS_msn=1&_HLS_part=0.5", Err("_HLS_part is not a decimal integer"));
        check("_HLS_msn=1&_HLS_msn=1", Err("_HLS_msn is given twice"));
        check("_HLS_skip=yes", Err("_HLS_skip is neither YES nor v2"));
        check("_HLS_skip=YES&_HLS_skip=v2", Err("_HLS_skip is given twice"));
    }
}
