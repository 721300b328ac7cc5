//! Keys and fingerprints: what is refused, and what is never shown.

use std::format;
use std::string::ToString;

use proptest::prelude::*;

use super::*;

#[test]
fn points_of_small_order_are_no_keys() {
    // The neutral point, and the point of order two: with either, anybody's signature would do.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut order_two = [0xff; 32];
    (order_two[0], order_two[31]) = (0xec, 0x7f);
    for bytes in [neutral, order_two, [0; 32]] {
        assert_eq!(BoxKey::from_bytes(bytes), Err(BadKey));
    }
    assert_eq!(WireGuardKey::from_bytes([0; 32]), Err(BadKey));
}

/// RFC 8032 section 7.1, test 1: the public key of a published seed.
#[test]
fn a_published_key_comes_out_of_its_seed() {
    let hex = |text: &str| -> [u8; 32] {
        data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
    };
    let secret =
        RootSecret::from_seed(&hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"));
    let expected = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    assert_eq!(secret.public().as_bytes(), &expected);
}

#[test]
fn debug_shows_no_secret() {
    let secret = BoxSecret::from_seed(&[7; 32]);
    let shown = format!("{secret:?}");
    assert!(shown.starts_with("Secret(BoxKey(") && !shown.contains("7, 7"), "{shown}");
}

#[test]
fn one_key_in_two_roles_has_two_fingerprints() {
    let (root, of_box) = (RootSecret::from_seed(&[7; 32]), BoxSecret::from_seed(&[7; 32]));
    assert_eq!(root.public().as_bytes(), of_box.public().as_bytes());
    assert_ne!(root.public().fingerprint(), of_box.public().fingerprint());
}

#[test]
fn a_fingerprint_is_read_as_people_type_it() {
    let fingerprint = RootSecret::from_seed(&[1; 32]).public().fingerprint();
    let text = fingerprint.to_string();
    assert_eq!(text.len(), 44);
    assert_eq!(text.to_lowercase().parse(), Ok(fingerprint));
    assert_eq!(text.replace('-', " ").replace('0', "o").replace('1', "l").parse(), Ok(fingerprint));
    assert_eq!(text[..43].parse::<Fingerprint>(), Err(FingerprintError::Length(35)));
    assert_eq!(
        text.replacen('-', "#", 1).parse::<Fingerprint>(),
        Err(FingerprintError::Character { position: 5 })
    );
}

proptest! {
    #[test]
    fn a_slip_in_a_fingerprint_is_seen(seed: [u8; 32], at in 0usize..36, by in 1u8..32) {
        let text = RootSecret::from_seed(&seed).public().fingerprint().to_string();
        let mut typed: std::vec::Vec<char> = text.replace('-', "").chars().collect();
        let value = crate::crockford::value(typed[at]).unwrap();
        typed[at] = crate::crockford::digit((value + by) % 32);
        let typed: std::string::String = typed.into_iter().collect();
        prop_assert_eq!(typed.parse::<Fingerprint>(), Err(FingerprintError::Check));
    }

    #[test]
    fn no_text_panics(text: std::string::String) {
        let _ = text.parse::<Fingerprint>();
    }
}
