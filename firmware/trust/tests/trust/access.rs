//! Links: what opens, for which stream, and until when.

use proptest::prelude::*;
use trust::access::Lock;
use trust::{AccessError, AccessToken, DecodeError, LinkId, MeshId, Signed, StreamSecret, UnixSeconds};

use crate::mesh::{Mesh, NOW, days, secs};

fn check(text: &str, lock: &Lock<'_>, expected: Result<(), AccessError>) {
    assert_eq!(AccessToken::open(text, lock).map(drop), expected, "{text}");
}

#[test]
fn a_link_opens_its_stream_while_it_holds() {
    let mesh = Mesh::new(1);
    let (secret, id) = (mesh.stream_secret(1), mesh.id());
    let token = AccessToken { not_before: Some(secs(-10)), expires: secs(10), ..mesh.link("demo") };
    let text = Signed::sign(token, &secret).unwrap().to_string();
    let key = secret.public();
    let lock = Lock { mesh: &id, stream: "demo", key: &key, now: NOW };
    check(&text, &lock, Ok(()));
    check(&text, &Lock { now: secs(-10), ..lock }, Ok(()));
    check(&text, &Lock { now: secs(-11), ..lock }, Err(AccessError::Early));
    check(&text, &Lock { now: secs(9), ..lock }, Ok(()));
    check(&text, &Lock { now: secs(10), ..lock }, Err(AccessError::Expired));
    check(&text, &Lock { stream: "demo2", ..lock }, Err(AccessError::Foreign));
    // Of a link for elsewhere nobody learns whether it is over.
    check(&text, &Lock { stream: "demo2", now: secs(99), ..lock }, Err(AccessError::Foreign));
    let other = mesh.stream_secret(2).public();
    check(&text, &Lock { key: &other, ..lock }, Err(AccessError::Foreign));
    let elsewhere = Mesh::new(2).id();
    check(&text, &Lock { mesh: &elsewhere, ..lock }, Err(AccessError::Foreign));
}

#[test]
fn a_box_by_itself_has_links_too() {
    let secret = StreamSecret::from_seed(&[5; 32]);
    let (key, mesh) = (secret.public(), MeshId::alone(&secret.public()));
    assert_ne!(mesh, MeshId::alone(&StreamSecret::from_seed(&[6; 32]).public()));
    let text = Signed::sign(AccessToken { mesh, ..Mesh::new(1).link("demo") }, &secret).unwrap().to_string();
    check(&text, &Lock { mesh: &mesh, stream: "demo", key: &key, now: NOW }, Ok(()));
}

#[test]
fn a_link_is_short_and_bounded() {
    let mesh = Mesh::new(1);
    let secret = mesh.stream_secret(1);
    let plain = Signed::sign(mesh.link("demo"), &secret).unwrap().to_string();
    assert!(plain.len() <= 140, "{}", plain.len());
    let longest = AccessToken {
        stream: "x".repeat(64).into(),
        label: Some("a-name-of-thirty-two-characters1".parse().unwrap()),
        not_before: Some(UnixSeconds::new(UnixSeconds::MAX.get() - 1)),
        expires: UnixSeconds::MAX,
        ..mesh.link("demo")
    };
    let longest = Signed::sign(longest, &secret).unwrap().to_string();
    assert!(longest.len() <= AccessToken::TEXT_MAX, "{}", longest.len());
    let refused = |token: AccessToken| {
        matches!(Signed::sign(token, &secret), Err(DecodeError::OutOfBounds(_) | DecodeError::TooLong { .. }))
    };
    for stream in ["", "-a", "a/b", "a b", &"x".repeat(65)] {
        assert!(refused(AccessToken { stream: stream.into(), ..mesh.link("demo") }), "{stream}");
    }
    assert!(refused(AccessToken { not_before: Some(days(7)), ..mesh.link("demo") }));
    assert!(refused(AccessToken { not_before: Some(days(-360)), ..mesh.link("demo") }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_link_comes_back(
        stream in "[a-zA-Z0-9_][a-zA-Z0-9_-]{0,63}", id: [u8; 8], label in proptest::option::of("[a-z0-9]{1,32}"),
        from in proptest::option::of(0u64..4_000_000_000), expires in 4_000_000_000u64..4_031_000_000,
    ) {
        let mesh = Mesh::new(1);
        let token = AccessToken {
            mesh: mesh.id(),
            stream: stream.as_str().into(),
            id: LinkId(id),
            label: label.map(|label| label.parse().unwrap()),
            not_before: from.map(|from| UnixSeconds::new(3_999_500_000 + from / 8000)),
            expires: UnixSeconds::new(expires),
        };
        let (secret, mesh) = (mesh.stream_secret(1), mesh.id());
        let signed = Signed::sign(token.clone(), &secret).unwrap();
        let (key, now) = (secret.public(), UnixSeconds::new(3_999_999_999));
        let lock = Lock { mesh: &mesh, stream: &stream, key: &key, now };
        let opened = AccessToken::open(&signed.to_string(), &lock);
        let early = token.not_before.is_some_and(|from| now < from);
        prop_assert_eq!(opened, if early { Err(AccessError::Early) } else { Ok(token) });
    }

    #[test]
    fn no_edit_goes_unseen(at in 0usize..140, to in "[A-Za-z0-9_-]") {
        let mesh = Mesh::new(1);
        let (secret, id) = (mesh.stream_secret(1), mesh.id());
        let text = Signed::sign(mesh.link("demo"), &secret).unwrap().to_string();
        let at = at % text.len();
        prop_assume!(text[at..=at] != *to);
        let bent = format!("{}{to}{}", &text[..at], &text[at + 1..]);
        let key = secret.public();
        let lock = Lock { mesh: &id, stream: "demo", key: &key, now: NOW };
        prop_assert!(AccessToken::open(&bent, &lock).is_err());
    }
}
