//! Enrolments put together from parts of two meshes, and any bytes as any body: only what belongs together is let in.
#![no_main]

use std::fmt::Debug;
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use trust::*;
use wire::request::{Incoming, RequestNonce};
use wire::updates::{BindingUpdate, LookupResponse, RenewRequest, RevocationSet, TimeRequest, TimeResponse};
use wire::*;

#[path = "../../../trust/tests/trust/mesh.rs"]
mod mesh;

use mesh::{Joined, Mesh, NOW, days, list};

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Body(&'a [u8]),
    Header(&'a str),
    Enrolment {
        request: [Part; 3],
        answer: [Part; 3],
        revoke: Option<Part>,
        patch: Option<(u16, u8)>,
        late: bool,
    },
    Request {
        claims: [u8; 4],
        times: [i8; 2],
        bodies: [bool; 2],
        flips: Vec<u16>,
        again: bool,
    },
}

/// From which of two boxes in which of two meshes.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Part {
    Own,
    Other,
    Foreign,
}

struct World {
    own: Mesh,
    foreign: Mesh,
    boxes: [Joined; 3],
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let (own, foreign) = (Mesh::new(1), Mesh::new(2));
    let boxes = [own.join(1), own.join(2), foreign.join(3)];
    World { own, foreign, boxes }
});

fn of(part: Part) -> (&'static Mesh, &'static Joined) {
    match part {
        Part::Own => (&WORLD.own, &WORLD.boxes[0]),
        Part::Other => (&WORLD.own, &WORLD.boxes[1]),
        Part::Foreign => (&WORLD.foreign, &WORLD.boxes[2]),
    }
}

/// What is read is written back the same.
fn body<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(bytes) {
        let written = serde_json::to_vec(&value).expect("what was read can be written");
        assert_eq!(serde_json::from_slice::<T>(&written).expect("and read again"), value);
    }
}

fn bodies(bytes: &[u8]) {
    body::<EnrolRequest>(bytes);
    body::<EnrolResponse>(bytes);
    body::<Heartbeat>(bytes);
    body::<HeartbeatResponse>(bytes);
    body::<ParentsRequest>(bytes);
    body::<ParentsResponse>(bytes);
    body::<Problem>(bytes);
    body::<Frame>(bytes);
    body::<RenewRequest>(bytes);
    body::<RevocationSet>(bytes);
    body::<DoubleUse>(bytes);
    body::<BindingUpdate>(bytes);
    body::<LookupResponse>(bytes);
    body::<(TimeRequest, TimeResponse)>(bytes);
}

/// Through JSON, with a byte put over somewhere; none when that can't be read any more.
fn sent<T: Serialize + DeserializeOwned>(value: &T, patch: Option<(u16, u8)>) -> Option<T> {
    let mut bytes = serde_json::to_vec(value).expect("can be written");
    if let Some((at, byte)) = patch {
        let at = usize::from(at) % bytes.len();
        bytes[at] = byte;
    }
    serde_json::from_slice(&bytes).ok()
}

fn revoked(revoke: Option<Part>) -> Revocations {
    revoke.map_or_else(Revocations::new, |part| WORLD.own.revoked(Revoked::Box(of(part).1.key())))
}

fn enrol(parts: [Part; 3], revoke: Option<Part>, patch: Option<(u16, u8)>, late: bool) {
    let [invite, certificate, binding] = parts;
    let request = EnrolRequest {
        chain: Chain {
            invite: of(invite).1.chain.invite.clone(),
            certificate: of(certificate).1.chain.certificate.clone(),
        },
        wireguard: of(binding).1.binding(of(binding).0, 1, 1),
        version: "0.1.0".parse().expect("a version"),
        board: "rpi5".parse().expect("a board"),
        endpoints: list(vec![]),
    };
    let Some(read) = sent(&request, patch) else { return };
    let now = if late { days(7) } else { NOW };
    let found = read.check(&WORLD.own.root_key(), now, &revoked(revoke));
    // A bent byte may only hit what nobody signed.
    let signed = read.chain == request.chain && read.wireguard == request.wireguard;
    let fits = invite == certificate && certificate == binding && invite != Part::Foreign;
    assert_eq!(found.is_ok(), signed && fits && !late && revoke != Some(certificate), "{found:?}");
    if let Err(error) = found {
        assert!(Problem::new(Code::from(&error), &error.to_string()).status >= 400);
    }
}

fn answer(parts: [Part; 3], revoke: Option<Part>, patch: Option<(u16, u8)>) {
    let [certificate, membership, map] = parts;
    let me = &WORLD.boxes[0];
    let response = EnrolResponse {
        certificate: of(certificate).0.certificate(),
        membership: of(membership).0.membership(of(membership).1),
        revocations: list(revoked(revoke).entries().into_iter().cloned().collect()),
        map: of(map).0.map(of(map).1.key(), 1, vec![]),
        heartbeat_s: 15,
        stun_ports: list(vec![3478, 3479]),
    };
    let Some(read) = sent(&response, patch) else { return };
    let (heartbeat_s, stun_ports) = (read.heartbeat_s, read.stun_ports.clone());
    let signed = EnrolResponse { heartbeat_s, stun_ports, ..response };
    // A revocation that was bent is as if it had not come: whoever sits on the line can hold it back as well.
    let whole = EnrolResponse { revocations: list(vec![]), ..read.clone() }
        == EnrolResponse { revocations: list(vec![]), ..signed.clone() };
    let revokes_me = revoke == Some(Part::Own) && read.revocations == signed.revocations;
    let fits = certificate != Part::Foreign && membership == Part::Own && map == Part::Own;
    let found = read.check(&WORLD.own.root_key(), &me.chain, NOW).map(drop);
    assert_eq!(found.is_ok(), whole && fits && !revokes_me, "{found:?}");
    if let Err(error) = found {
        assert!(Problem::new(Code::from(&error), &error.to_string()).status >= 400);
    }
}

fn request(claims: [u8; 4], times: [i8; 2], bodies: [bool; 2], flips: &[u16], again: bool) {
    const TARGETS: [&str; 2] = [path::HEARTBEAT, path::RENEW];
    const METHODS: [Method; 3] = [Method::Get, Method::Post, Method::Delete];
    let content = |which| if which { &b"{}"[..] } else { &b""[..] };
    let [target, method, incoming_target, incoming_method] = claims.map(usize::from);
    let [time, now] = times.map(|offset| mesh::secs(i64::from(offset)));
    let joined = &WORLD.boxes[0];
    let made = BoxRequest {
        mesh: WORLD.own.id(),
        key: joined.key(),
        method: METHODS[method % 3],
        target: TARGETS[target % 2].parse().expect("a target"),
        body: Digest::of(content(bodies[0])),
        time,
        nonce: RequestNonce([claims[0]; 16]),
    };
    let signed = Signed::sign(made, &joined.secret).expect("in bounds");
    let mut bytes = signed.to_bytes();
    for flip in flips.iter().take(3) {
        let bit = usize::from(*flip) % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    let Ok(read) = Signed::<BoxRequest>::from_bytes(&bytes) else { return };
    let incoming = Incoming {
        method: METHODS[incoming_method % 3],
        target: TARGETS[incoming_target % 2],
        body: content(bodies[1]),
    };
    let mut guard = ReplayGuard::new(WORLD.own.id(), mesh::secs(-100));
    let same =
        target % 2 == incoming_target % 2 && method % 3 == incoming_method % 3 && bodies[0] == bodies[1];
    let timely = times[0] >= -100 && (i16::from(times[0]) - i16::from(times[1])).abs() <= 60;
    let taken = guard.admit(&read, &incoming, &joined.key(), now);
    assert_eq!(taken.is_ok(), same && timely && read == signed, "{taken:?}");
    if taken.is_ok() && again {
        assert_eq!(guard.admit(&read, &incoming, &joined.key(), now), Err(RequestError::Replayed));
    }
}

fuzz_target!(|input: Input<'_>| match input {
    Input::Body(bytes) => bodies(bytes),
    Input::Header(text) => {
        if let Ok(signed) = text.parse::<Signed<BoxRequest>>() {
            assert_eq!(signed.to_string(), text);
        }
    }
    Input::Enrolment { request, answer: parts, revoke, patch, late } => {
        enrol(request, revoke, patch, late);
        answer(parts, revoke, patch);
    }
    Input::Request { claims, times, bodies, flips, again } => request(claims, times, bodies, &flips, again),
});
