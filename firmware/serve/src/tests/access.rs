//! Who may do what: DNS rebinding, foreign sites, guessing the PIN, this machine and others.

use super::harness::{Bench, PIN, Reply};
use crate::Policy;

const JSON: &str = "Content-Type: application/json";
/// A name of the box, but not of this machine to itself.
const BOX: &str = "Host: box.local";

async fn log_in(bench: &Bench, pin: &str) -> Reply {
    bench.ask("POST", "/api/v1/session", &[BOX, JSON], &format!("{{\"pin\":\"{pin}\"}}")).await
}

pub(super) async fn session(bench: &Bench) -> String {
    let reply = log_in(bench, PIN).await;
    assert_eq!(reply.status, 204, "{reply:?}");
    let cookie = reply.header("set-cookie").unwrap();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    format!("Cookie: {}", cookie.split(';').next().unwrap())
}

#[tokio::test]
async fn a_rebound_name_gets_nothing() {
    let bench = Bench::start().await;
    let cookie = session(&bench).await;
    for path in [
        "/",
        "/studio",
        "/live/demo",
        "/live/index.json",
        "/live/demo/status.json",
        "/metrics",
        "/healthz",
        "/api/v1/streams",
        "/api/v1/studio",
        "/nothing",
    ] {
        let reply = bench.get(path, &["Host: evil.example", &cookie]).await;
        reply.assert_problem(421);
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
    let post = bench.ask("POST", "/api/v1/session", &["Host: evil.example", JSON], "{\"pin\":\"0\"}").await;
    post.assert_problem(421);
    bench.get("/", &["Host:"]).await.assert_problem(400);
    assert!(bench.metrics().contains("relaybox_http_turned_away_total{reason=\"host\"} 11\n"));
}

#[tokio::test]
async fn another_site_changes_nothing() {
    let bench = Bench::start().await;
    let cookie = session(&bench).await;
    let body = "{\"name\":\"made\"}";
    for line in [
        "Origin: http://evil.example",
        "Origin: null",
        "Origin: http://box.local:81",
        "Sec-Fetch-Site: cross-site",
    ] {
        let headers = [BOX, JSON, &cookie, line];
        bench.ask("POST", "/api/v1/studio/streams", &headers, body).await.assert_problem(403);
        bench.ask("POST", "/api/v1/studio/streams/demo/key", &headers, "").await.assert_problem(403);
        bench.ask("DELETE", "/api/v1/studio/streams/demo", &headers, "").await.assert_problem(403);
        let open = "{\"access\":\"open\"}";
        bench.ask("PUT", "/api/v1/studio/streams/demo/access", &headers, open).await.assert_problem(403);
        let link = "{\"valid_s\":3600}";
        bench.ask("POST", "/api/v1/studio/streams/demo/links", &headers, link).await.assert_problem(403);
        bench.ask("PUT", "/api/v1/giving", &headers, "{\"paused\":true}").await.assert_problem(403);
        bench.ask("DELETE", "/api/v1/session", &headers, "").await.assert_problem(403);
        bench.ask("POST", "/api/v1/session", &headers, "{\"pin\":\"1\"}").await.assert_problem(403);
    }
    // What a plain form can send.
    let form = [BOX, &cookie, "Content-Type: text/plain"];
    bench.ask("POST", "/api/v1/studio/streams", &form, body).await.assert_problem(415);
    let preflight =
        bench.ask("OPTIONS", "/api/v1/studio/streams", &["Origin: http://evil.example"], "").await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, None));

    let own = [BOX, JSON, &cookie, "Origin: http://box.local", "Sec-Fetch-Site: same-origin"];
    let made = bench.ask("POST", "/api/v1/studio/streams", &own, body).await;
    assert_eq!((made.status, made.text()), (201, "{\"name\":\"made\",\"key\":\"made-key\"}"));
    assert_eq!(made.header("location"), Some("/api/v1/studio/streams/made"));
}

#[tokio::test]
async fn guessing_the_pin_ends_soon() {
    let bench = Bench::start().await;
    for guess in 0..5 {
        log_in(&bench, &format!("{guess:06}")).await.assert_problem(401);
    }
    let limited = log_in(&bench, "000005").await;
    limited.assert_problem(429);
    let wait: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((50..=60).contains(&wait), "{wait}");
    log_in(&bench, PIN).await.assert_problem(429);
    assert!(bench.metrics().contains("{reason=\"wrong_pin\"} 5\n"));
    assert!(bench.metrics().contains("{reason=\"pin_rate\"} 2\n"));
}

#[tokio::test]
async fn changes_need_a_session_even_on_this_machine() {
    let bench = Bench::start().await;
    for (method, path, body) in [
        ("GET", "/api/v1/studio", ""),
        ("POST", "/api/v1/studio/streams", "{\"name\":\"made\"}"),
        ("POST", "/api/v1/studio/streams/demo/key", ""),
        ("DELETE", "/api/v1/studio/streams/demo", ""),
        ("PUT", "/api/v1/studio/streams/demo/access", "{\"access\":\"open\"}"),
        ("POST", "/api/v1/studio/streams/demo/links", "{\"valid_s\":3600}"),
        ("PUT", "/api/v1/giving", "{\"paused\":true}"),
    ] {
        for cookie in [
            "X: none",
            "Cookie: relaybox-session=0123",
            &format!("Cookie: relaybox-session={}", "0".repeat(64)),
        ] {
            let reply = bench.ask(method, path, &[JSON, cookie], body).await;
            reply.assert_problem(401);
            assert!(!reply.text().contains("key\""));
        }
    }
    let cookie = session(&bench).await;
    let studio = bench.get("/api/v1/studio", &[BOX, &cookie]).await;
    assert!(studio.text().contains("s3cret-key"));
    let headers = [BOX, JSON, cookie.as_str()];
    let rotated = bench.ask("POST", "/api/v1/studio/streams/demo/key", &headers, "").await;
    assert_eq!((rotated.status, rotated.text()), (200, "{\"name\":\"demo\",\"key\":\"new-key\"}"));
    bench.ask("POST", "/api/v1/studio/streams/other/key", &headers, "").await.assert_problem(404);
    bench.ask("POST", "/api/v1/studio/streams", &headers, "{\"name\":\"demo\"}").await.assert_problem(409);
    bench.ask("POST", "/api/v1/studio/streams", &headers, "{\"name\":\"../x\"}").await.assert_problem(422);
    bench
        .ask("POST", "/api/v1/studio/streams", &headers, "{\"name\":\"x\",\"y\":1}")
        .await
        .assert_problem(400);
    bench.ask("POST", "/api/v1/studio/streams", &headers, "{").await.assert_problem(400);
    bench.ask("POST", "/api/v1/studio/streams", &headers, &"x".repeat(5000)).await.assert_problem(413);
    assert_eq!(bench.ask("DELETE", "/api/v1/studio/streams/demo", &headers, "").await.status, 204);

    let out = bench.ask("DELETE", "/api/v1/session", &headers, "").await;
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    bench.get("/api/v1/studio", &headers).await.assert_problem(401);
}

#[tokio::test]
async fn what_a_friend_gives_is_set_behind_the_pin() {
    let bench = Bench::start().await;
    let cookie = session(&bench).await;
    let headers = [BOX, JSON, cookie.as_str()];
    let wish = "{\"limit_kbps\":3000,\"zone\":\"Europe/Berlin\",\"quiet\":[{\"from\":\"22:00\",\"to\":\"07:00\",\"limit_kbps\":200}]}";
    assert_eq!(bench.ask("PUT", "/api/v1/giving", &headers, wish).await.status, 204);
    let view = bench.get("/api/v1/giving", &[BOX, &cookie]).await;
    let view: serde_json::Value = serde_json::from_str(view.text()).unwrap();
    let hours = serde_json::json!({ "from": "22:00", "to": "07:00", "limit_kbps": 200 });
    let kept =
        serde_json::json!({ "limit_kbps": 3000, "paused": false, "zone": "Europe/Berlin", "quiet": [hours] });
    assert_eq!(view["wish"], kept);

    let wrong = bench.ask("PUT", "/api/v1/giving", &headers, "{\"limit_kbps\":1}").await;
    wrong.assert_problem(422);
    assert!(wrong.text().contains("that is too little"), "{}", wrong.text());
    bench.ask("PUT", "/api/v1/giving", &headers, "{\"limit\":1}").await.assert_problem(400);
    bench.ask("POST", "/api/v1/giving", &headers, wish).await.assert_problem(405);
    *bench.stage.giving.lock().unwrap() = None;
    bench.ask("PUT", "/api/v1/giving", &headers, wish).await.assert_problem(404);
    assert_eq!(bench.get("/api/v1/giving", &[BOX, &cookie]).await.text(), "null");
}

#[tokio::test]
async fn reading_is_for_this_machine_or_a_session() {
    let bench = Bench::start().await;
    for path in ["/api/v1/streams", "/api/v1/box", "/api/v1/giving", "/metrics"] {
        let own = bench.get(path, &[]).await;
        assert_eq!(own.status, 200, "{path}");
        assert!(!own.text().contains("s3cret"));
        let forwarded = bench.get(path, &["X-Forwarded-For: 192.0.2.1"]).await;
        forwarded.assert_problem(if path == "/metrics" { 403 } else { 401 });
    }
    bench.get("/api/v1/streams", &[BOX]).await.assert_problem(401);
    bench.get("/metrics", &[BOX]).await.assert_problem(403);
    let cookie = session(&bench).await;
    assert_eq!(bench.get("/api/v1/streams", &[BOX, &cookie]).await.status, 200);
    bench.get("/metrics", &[BOX, &cookie]).await.assert_problem(403);
}

#[tokio::test]
async fn what_is_opened_is_open_and_nothing_else() {
    let api = Bench::with_policy(Policy { api_open: true, ..Policy::default() }).await;
    assert_eq!(api.get("/api/v1/streams", &[BOX]).await.status, 200);
    api.get("/metrics", &[BOX]).await.assert_problem(403);
    api.get("/api/v1/studio", &[BOX]).await.assert_problem(401);
    api.get("/api/v1/streams", &["Host: evil.example"]).await.assert_problem(421);
    let metrics = Bench::with_policy(Policy { metrics_open: true, ..Policy::default() }).await;
    assert_eq!(metrics.get("/metrics", &[BOX]).await.status, 200);
    metrics.get("/api/v1/streams", &[BOX]).await.assert_problem(401);
}

#[tokio::test]
async fn watching_is_open_and_tells_no_secret() {
    let bench = Bench::start().await;
    let list = bench.get("/live/index.json", &[BOX]).await;
    let value: serde_json::Value = serde_json::from_str(list.text()).unwrap();
    assert_eq!(value["box"], "box");
    assert_eq!(value["streams"][0]["name"], "demo");
    assert_eq!(value["streams"][0]["state"], "offline");
    let status = bench.get("/live/demo/status.json", &[BOX]).await;
    assert_eq!(status.status, 200);
    assert!(!status.text().contains("s3cret"));
    assert!(!status.text().contains("srs.example"), "where it is pulled from is not for viewers");
    assert!(bench.get("/api/v1/streams", &[]).await.text().contains("pulled from srs.example"));
    bench.get("/live/other/status.json", &[BOX]).await.assert_problem(404);
    let health = bench.get("/healthz", &[BOX]).await;
    assert_eq!((health.status, health.text()), (200, "{\"ok\":true,\"problems\":[]}"));
}
