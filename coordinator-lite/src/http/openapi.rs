//! The API's description (OpenAPI 3.1), written by hand beside the routes, and held against them by a test.

use axum::response::Response;
use http::HeaderValue;
use http::header::CONTENT_TYPE;

const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn document() -> Response {
    let mut response = Response::new(axum::body::Body::from(DOCUMENT));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::http::routes;

    #[test]
    fn the_description_and_the_routes_are_the_same() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let described: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys().filter(|key| *key == "get" || *key == "post");
                methods.map(|method| (method.clone(), path.clone())).collect::<Vec<_>>()
            })
            .collect();
        let listed = routes().listed;
        let routed: BTreeSet<_> =
            listed.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
        assert_eq!(described, routed);
        assert_eq!(listed.len(), routed.len(), "a route twice");
    }

    #[test]
    fn every_problem_is_described() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let described = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
        let codes: Vec<&str> = wire::Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(*described, serde_json::json!(codes));
    }
}
