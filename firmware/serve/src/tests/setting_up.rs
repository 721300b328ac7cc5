//! Setting a box up: who may without a PIN, what is refused in which words, and where the box's own Wi-Fi leads.

use std::sync::atomic::{AtomicBool, Ordering};

use super::access::session;
use super::harness::{Bench, Reply};
use crate::{InviteWish, Setup, SetupError, SetupView, WifiState, WifiView, WifiWish};

const JSON: &str = "Content-Type: application/json";
const BOX: &str = "Host: box.local";

/// A box called `box`, which knows one invite.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) first: AtomicBool,
    pub(super) hotspot: AtomicBool,
}

impl Setup for Shelf {
    fn view(&self) -> SetupView {
        let state = WifiState::Trying;
        let wifi = WifiView { state, name: Some("home".into()), address: None, around: Vec::new() };
        SetupView { name: "box".into(), first: self.is_first(), wifi: Some(wifi), ..SetupView::default() }
    }

    fn is_first(&self) -> bool {
        self.first.load(Ordering::Relaxed)
    }

    fn join(&self, wish: &InviteWish) -> Result<String, SetupError> {
        match (wish.invite.as_str(), &wish.pin) {
            ("good", _) => Ok("ana".into()),
            _ => Err(SetupError::Refused("this is not an invite".into())),
        }
    }

    fn set_wifi(&self, wish: &WifiWish) -> Result<(), SetupError> {
        assert_eq!((wish.country.as_str(), wish.ssid.as_str()), ("DE", "home"));
        Ok(())
    }

    fn reset(&self, name: &str) -> Result<(), SetupError> {
        if name == "box" { Ok(()) } else { Err(SetupError::Refused("this box is called \"box\"".into())) }
    }

    fn portal(&self) -> Option<String> {
        self.hotspot.load(Ordering::Relaxed).then(|| "http://10.42.0.1/".to_owned())
    }
}

const INVITE: &str = "{\"invite\":\"good\",\"pin\":\"4711\"}";
const WIFI: &str = "{\"country\":\"DE\",\"ssid\":\"home\",\"password\":\"correct horse\"}";
const RESET: &str = "{\"name\":\"box\"}";

async fn ask(bench: &Bench, method: &str, step: &str, headers: &[&str], body: &str) -> Reply {
    let headers = [&[BOX, JSON], headers].concat();
    bench.ask(method, &format!("/api/v1/setup{step}"), &headers, body).await
}

#[tokio::test]
async fn a_box_that_was_set_up_asks_for_its_pin() {
    let bench = Bench::start().await;
    for (method, step, body) in
        [("GET", "", ""), ("POST", "/invite", INVITE), ("PUT", "/wifi", WIFI), ("POST", "/reset", RESET)]
    {
        ask(&bench, method, step, &[], body).await.assert_problem(401);
    }
    let cookie = session(&bench).await;
    let view = ask(&bench, "GET", "", &[&cookie], "").await;
    let expected = "{\"name\":\"box\",\"first\":false,\"joined\":false,\"wifi\":{\"state\":\"trying\",\"name\":\"home\",\
                    \"around\":[]},\"resettable\":false}";
    assert_eq!(view.text(), expected);
    let joined = ask(&bench, "POST", "/invite", &[&cookie], INVITE).await;
    assert_eq!((joined.status, joined.text()), (200, "{\"name\":\"ana\"}"));
    assert_eq!(ask(&bench, "PUT", "/wifi", &[&cookie], WIFI).await.status, 202);
    assert_eq!(ask(&bench, "POST", "/reset", &[&cookie], RESET).await.status, 202);
    let wrong = ask(&bench, "POST", "/reset", &[&cookie], "{\"name\":\"bax\"}").await;
    wrong.assert_problem(422);
    assert!(wrong.text().contains("this box is called \\\"box\\\""), "{}", wrong.text());
    let bad = ask(&bench, "POST", "/invite", &[&cookie], "{\"invite\":\"hello\"}").await;
    bad.assert_problem(422);
    assert!(bad.text().contains("this is not an invite"), "{}", bad.text());
    let evil = "Origin: http://evil.example";
    for (method, step, body) in
        [("POST", "/invite", INVITE), ("PUT", "/wifi", WIFI), ("POST", "/reset", RESET)]
    {
        ask(&bench, method, step, &[&cookie, evil], body).await.assert_problem(403);
    }
}

#[tokio::test]
async fn a_new_box_is_set_up_from_near_without_a_pin() {
    let bench = Bench::start().await;
    bench.stage.shelf.first.store(true, Ordering::Relaxed);
    assert_eq!(ask(&bench, "GET", "", &[], "").await.status, 200);
    assert_eq!(ask(&bench, "POST", "/invite", &[], INVITE).await.status, 200);
    assert_eq!(ask(&bench, "PUT", "/wifi", &[], WIFI).await.status, 202);
    // A reset is for who has the PIN, always.
    ask(&bench, "POST", "/reset", &[], RESET).await.assert_problem(401);
    let evil = "Origin: http://evil.example";
    ask(&bench, "POST", "/invite", &[evil], INVITE).await.assert_problem(403);
    ask(&bench, "POST", "/invite", &["X-Forwarded-For: 192.0.2.1"], INVITE).await.assert_problem(401);
    bench.stage.near.store(false, Ordering::Relaxed);
    ask(&bench, "GET", "", &[], "").await.assert_problem(401);
    ask(&bench, "POST", "/invite", &[], INVITE).await.assert_problem(401);
}

#[tokio::test]
async fn whoever_is_in_the_boxs_own_wifi_is_led_to_its_page() {
    let bench = Bench::start().await;
    let probe = "Host: connectivitycheck.gstatic.com";
    bench.get("/generate_204", &[probe]).await.assert_problem(421);
    bench.stage.shelf.hotspot.store(true, Ordering::Relaxed);
    let led = bench.get("/generate_204", &[probe]).await;
    assert_eq!((led.status, led.header("location")), (302, Some("http://10.42.0.1/")));
    assert_eq!(led.header("cache-control"), Some("no-store"));
    assert_eq!(bench.get("/", &["Host: 10.42.0.1"]).await.status, 200);
    // Nothing of another site's is taken for the box's.
    bench.ask("POST", "/api/v1/setup/invite", &[probe, JSON], INVITE).await.assert_problem(421);
}
