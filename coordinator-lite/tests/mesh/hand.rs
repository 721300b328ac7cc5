//! A member whose requests are made by hand, so that a test decides each of them: with keys made of a constant, and
//! without `relayd`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::de::DeserializeOwned;
use trust::*;
use wire::request::{HEADER, RequestNonce};
use wire::{BoxRequest, EnrolRequest, EnrolResponse, Heartbeat, HeartbeatResponse, Method, path};

use crate::client::ask;
use crate::house::House;

pub(crate) fn now() -> UnixSeconds {
    UnixSeconds::new(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

pub(crate) struct Hand {
    secret: BoxSecret,
    pub(crate) mesh: MeshId,
    pub(crate) enrolled: EnrolResponse,
}

impl Hand {
    /// Comes in by an invite of its own.
    pub(crate) fn join(house: &House, name: &str, seed: u8) -> Self {
        Self::join_by(house, &house.invite(name, &[]), name, seed)
    }

    pub(crate) fn join_by(house: &House, invite: &str, name: &str, seed: u8) -> Self {
        let ticket = Ticket::parse(invite).unwrap();
        let (secret, mesh) = (BoxSecret::from_seed(&[seed; 32]), ticket.invite.claims().mesh);
        let key = WireGuardKey::from_bytes([seed; 32]).unwrap();
        let binding = WireGuardBinding { mesh, key, generation: 1, boot: 1, valid_from: now() };
        let request = EnrolRequest {
            chain: ticket.sign_box(secret.public(), name.parse().unwrap()).unwrap(),
            wireguard: Signed::sign(binding, &secret).unwrap(),
            version: "1".parse().unwrap(),
            board: "none".parse().unwrap(),
            endpoints: List::new(),
        };
        let enrolled = post(house, &secret, mesh, path::ENROL, &request);
        Self { secret, mesh, enrolled }
    }

    pub(crate) fn address(&self) -> Ula {
        self.enrolled.membership.claims().address
    }

    /// The field of a request's head that says who made it.
    pub(crate) fn signature(&self, method: Method, target: &str, body: &[u8]) -> String {
        signature(&self.secret, self.mesh, method, target, body)
    }

    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        house: &House,
        target: &str,
        question: &impl Serialize,
    ) -> T {
        post(house, &self.secret, self.mesh, target, question)
    }

    /// A heartbeat with nothing in it but where the box is.
    pub(crate) fn beat(&self, house: &House, endpoints: &[&str]) -> HeartbeatResponse {
        self.post(house, path::HEARTBEAT, &self.heartbeat(endpoints))
    }

    /// Status, head and body of the answer to a heartbeat, also where it is refused.
    pub(crate) fn try_beat(&self, house: &House, heartbeat: &Heartbeat) -> (u16, String, String) {
        self.try_post(house, path::HEARTBEAT, heartbeat)
    }

    /// The same of any request.
    pub(crate) fn try_post(
        &self,
        house: &House,
        target: &str,
        question: &impl Serialize,
    ) -> (u16, String, String) {
        let body = serde_json::to_vec(question).unwrap();
        let fields = self.signature(Method::Post, target, &body);
        ask(house.address(), "POST", target, &fields, &body)
    }

    /// A question without a body.
    pub(crate) fn try_get(&self, house: &House, target: &str) -> (u16, String, String) {
        let fields = self.signature(Method::Get, target, b"");
        ask(house.address(), "GET", target, &fields, b"")
    }

    pub(crate) fn key(&self) -> BoxKey {
        self.secret.public()
    }

    pub(crate) fn heartbeat(&self, endpoints: &[&str]) -> Heartbeat {
        let endpoint = |text: &&str| Endpoint::new(text.parse().unwrap()).unwrap();
        Heartbeat {
            version: "1".parse().unwrap(),
            board: "none".parse().unwrap(),
            uptime_s: 1,
            boot: 1,
            load_milli: 0,
            temperature_milli_c: None,
            map_epoch: None,
            revocations: Revocations::new().digest(),
            endpoints: endpoints.iter().map(endpoint).collect::<Vec<_>>().try_into().unwrap(),
            paths: List::new(),
            streams: List::new(),
            watch: List::new(),
        }
    }
}

fn post<T: DeserializeOwned>(
    house: &House,
    secret: &BoxSecret,
    mesh: MeshId,
    target: &str,
    question: &impl Serialize,
) -> T {
    let body = serde_json::to_vec(question).unwrap();
    let fields = signature(secret, mesh, Method::Post, target, &body);
    let (status, _, answer) = ask(house.address(), "POST", target, &fields, &body);
    assert_eq!(status, 200, "{target}: {answer}");
    serde_json::from_str(&answer).unwrap()
}

fn signature(secret: &BoxSecret, mesh: MeshId, method: Method, target: &str, body: &[u8]) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let request = BoxRequest {
        mesh,
        key: secret.public(),
        method,
        target: target.parse().unwrap(),
        body: Digest::of(body),
        time: now(),
        nonce: RequestNonce(nonce),
    };
    format!("{HEADER}: {}\r\n", Signed::sign(request, secret).unwrap())
}
