//! `If-None-Match` (RFC 9110 13.1.2): what the viewer has already is not sent again.

use http::header::IF_NONE_MATCH;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::body::Body;

/// A 304 without further headers, if the viewer has what `etag` names.
pub(crate) fn not_modified(asked: &HeaderMap, etag: &HeaderValue) -> Option<Response<Body>> {
    let has = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        // Compared weakly, as the RFC asks; our tags have no comma inside.
        list.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    });
    has.then(|| {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_matches_in_any_place_of_the_list() {
        let etag = HeaderValue::from_static("\"a\"");
        for (list, hit) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
            ("", false),
        ] {
            let asked = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(list))]);
            assert_eq!(not_modified(&asked, &etag).is_some(), hit, "{list}");
        }
    }
}
