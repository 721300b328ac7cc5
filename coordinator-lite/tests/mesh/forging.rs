//! Boxes that lie: requests by hand, signed with real keys, that no honest `relayd` would make.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use trust::ticket::InviteSeed;
use trust::*;
use wire::request::{HEADER, RequestNonce};
use wire::{BoxRequest, EnrolRequest, Method, path};

use crate::client::ask;
use crate::house::{House, read, text};

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> UnixSeconds {
    UnixSeconds::new(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

fn root(house: &House) -> RootSecret {
    let key = read(&house.root_dir().join("root.key"));
    let seed = BASE64URL_NOPAD.decode(key.trim().rsplit(':').next().unwrap().as_bytes()).unwrap();
    RootSecret::from_seed(&seed.try_into().unwrap())
}

/// An invite by `root` that holds from `issued` on for a day; nobody told the service of it.
fn ticket(house: &House, root: &RootSecret, issued: UnixSeconds) -> Ticket {
    let real = Ticket::parse(&house.invite("real", &[])).unwrap();
    let seed = InviteSeed([7; 16]);
    let invite = Invite {
        mesh: MeshId::of(&real.root),
        key: seed.secret().public(),
        name: "ana".parse().unwrap(),
        kind: InviteKind::Box,
        limits: Limits::SINGLE,
        issued,
        expires: issued.plus(DAY),
    };
    Ticket { invite: Signed::sign(invite, root).unwrap(), seed, ..real }
}

/// A box with a constant key that asks to come in.
struct Liar {
    secret: BoxSecret,
    body: Vec<u8>,
}

impl Liar {
    fn new(ticket: &Ticket, seed: u8) -> Self {
        let secret = BoxSecret::from_seed(&[seed; 32]);
        let mesh = ticket.invite.claims().mesh;
        let binding = WireGuardBinding {
            mesh,
            key: WireGuardKey::from_bytes([seed; 32]).unwrap(),
            generation: 1,
            boot: 1,
            valid_from: now(),
        };
        let request = EnrolRequest {
            chain: ticket.sign_box(secret.public(), "ana".parse().unwrap()).unwrap(),
            wireguard: Signed::sign(binding, &secret).unwrap(),
            version: "1".parse().unwrap(),
            board: "none".parse().unwrap(),
            endpoints: List::new(),
        };
        Self { secret, body: serde_json::to_vec(&request).unwrap() }
    }

    fn header(&self, mesh: MeshId, time: UnixSeconds, body: &[u8]) -> String {
        let request = BoxRequest {
            mesh,
            key: self.secret.public(),
            method: Method::Post,
            target: path::ENROL.parse().unwrap(),
            body: Digest::of(body),
            time,
            nonce: RequestNonce([1; 16]),
        };
        format!("{HEADER}: {}\r\n", Signed::sign(request, &self.secret).unwrap())
    }

    fn enrol(&self, house: &House, header: &str) -> String {
        let (status, _, body) = ask(house.address(), "POST", path::ENROL, header, &self.body);
        if status == 200 {
            return "in".to_owned();
        }
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        problem["code"].as_str().unwrap().to_owned()
    }
}

#[test]
fn an_expired_invite_is_refused_by_the_box_and_by_the_coordinator() {
    let house = House::running("expired");
    let ticket = ticket(&house, &root(&house), now().minus(2 * DAY));
    let end = house.join("ana", &ticket.text(), &[]);
    assert!(!end.status.success() && text(&end).contains("the invite expired at"), "{}", text(&end));
    assert!(text(&end).contains("Ask whoever runs the mesh for another invite."), "{}", text(&end));
    // A board that lies about the time gets no further.
    let liar = Liar::new(&ticket, 1);
    let header = liar.header(ticket.invite.claims().mesh, now(), &liar.body);
    assert_eq!(liar.enrol(&house, &header), "invite-expired");
}

#[test]
fn an_invite_that_the_root_did_not_sign_is_refused() {
    let house = House::running("forged");
    let ticket = ticket(&house, &RootSecret::from_seed(&[9; 32]), now());
    let liar = Liar::new(&ticket, 1);
    let header = liar.header(ticket.invite.claims().mesh, now(), &liar.body);
    assert_eq!(liar.enrol(&house, &header), "invite-forged");
}

#[test]
fn a_request_counts_once_and_for_what_was_signed() {
    let house = House::running("replayed");
    let ticket = ticket(&house, &root(&house), now());
    let mesh = ticket.invite.claims().mesh;
    let liar = Liar::new(&ticket, 1);
    assert_eq!(liar.enrol(&house, ""), "request-forged");
    assert_eq!(liar.enrol(&house, &liar.header(mesh, now(), b"{}")), "request-forged");
    let other = Liar::new(&ticket, 2);
    assert_eq!(liar.enrol(&house, &other.header(mesh, now(), &liar.body)), "request-forged");
    let early = now().minus(Duration::from_secs(300));
    assert_eq!(liar.enrol(&house, &liar.header(mesh, early, &liar.body)), "clock-off");
    let good = liar.header(mesh, now(), &liar.body);
    assert_eq!(liar.enrol(&house, &good), "in");
    assert_eq!(liar.enrol(&house, &good), "request-replayed");
    let header = other.header(mesh, now(), &other.body);
    assert_eq!(other.enrol(&house, &header), "invite-used");
}
