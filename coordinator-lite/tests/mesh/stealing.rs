//! A thief with all files of the service, and nothing of the operator's, adds no box.

use std::fs;

use data_encoding::BASE64URL_NOPAD;
use trust::peer::Entry;
use trust::*;

use crate::house::{House, read, text, wait_for};

/// What lies in the service's directory, as far as it has to do with who may what.
struct Loot {
    root: RootKey,
    certificate: Signed<CoordinatorCertificate>,
    secret: CoordinatorSecret,
}

fn steal(house: &House) -> Loot {
    let dir = house.data_dir();
    let mesh: serde_json::Value = serde_json::from_str(&read(&dir.join("mesh.json"))).unwrap();
    let seed = BASE64URL_NOPAD.decode(read(&dir.join("coordinator.key")).trim().as_bytes()).unwrap();
    Loot {
        root: serde_json::from_value(mesh["root"].clone()).unwrap(),
        certificate: serde_json::from_value(mesh["certificate"].clone()).unwrap(),
        secret: CoordinatorSecret::from_seed(&seed.try_into().unwrap()),
    }
}

#[test]
fn the_roots_secret_is_nowhere_in_the_services_directory() {
    let house = House::running("loot");
    let invite = house.invite("ana", &[]);
    house.joined("bob");
    let key = read(&house.root_dir().join("root.key"));
    let text = key.trim().rsplit(':').next().unwrap();
    let seed = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
    let invite_seed = Ticket::parse(&invite).unwrap().seed.0;
    for entry in fs::read_dir(house.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        let content = fs::read(&path).unwrap();
        let has = |secret: &[u8]| content.windows(secret.len()).any(|window| window == secret);
        assert!(!has(&seed) && !has(text.as_bytes()), "the root's secret is in {}", path.display());
        assert!(!has(&invite_seed), "an invite's seed is in {}", path.display());
        assert!(!has(BASE64URL_NOPAD.encode(&invite_seed).as_bytes()), "{}", path.display());
    }
}

#[test]
fn a_directory_that_the_service_reads_is_no_place_for_the_root() {
    let house = House::made("apart");
    let data = house.dir.join("one");
    for root in [data.clone(), data.join("root")] {
        let end = std::process::Command::new(env!("CARGO_BIN_EXE_coordinator-lite"))
            .args(["init", "--data-dir"])
            .arg(&data)
            .arg("--root-dir")
            .arg(root)
            .output()
            .unwrap();
        assert!(!end.status.success() && text(&end).contains("must not lie where the service can read it"));
    }
    assert!(!data.exists());
}

/// The thief makes a root, an invite and a box of its own, signs a membership with the stolen key, and writes it all
/// into the stolen database. The coordinator hands it out, and honest boxes refuse it.
#[test]
fn a_stolen_coordinator_adds_no_box() {
    let mut house = House::running("stolen");
    house.joined("ana");
    let mut ana = house.run("ana");
    ana.wait_for_log("a map came");
    let Loot { root, certificate, secret } = steal(&house);
    let thief = RootSecret::from_seed(&[66; 32]);
    let invite_secret = InviteSecret::from_seed(&[67; 32]);
    let box_secret = BoxSecret::from_seed(&[68; 32]);
    let mesh = MeshId::of(&root);
    let now = UnixSeconds::new(
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(),
    );
    let invite = Invite {
        mesh,
        key: invite_secret.public(),
        name: "eve".parse().unwrap(),
        kind: InviteKind::Box,
        limits: Limits::SINGLE,
        issued: now,
        expires: now.plus(std::time::Duration::from_secs(86_400)),
    };
    let invite = Signed::sign(invite, &thief).unwrap();
    let certificate_of_box = BoxCertificate { mesh, key: box_secret.public(), name: "eve".parse().unwrap() };
    let chain = Chain { invite, certificate: Signed::sign(certificate_of_box, &invite_secret).unwrap() };
    let membership = Membership {
        mesh,
        key: box_secret.public(),
        invite: chain.invite.id(),
        address: MeshPrefix::of(&mesh).of_box(&box_secret.public(), 0),
        issued: now,
    };
    let membership = Signed::sign(membership, &secret).unwrap();
    let binding = WireGuardBinding {
        mesh,
        key: WireGuardKey::from_bytes([9; 32]).unwrap(),
        generation: 1,
        boot: 1,
        valid_from: now,
    };
    let binding = Signed::sign(binding, &box_secret).unwrap();

    // Judged as every peer judges: the membership holds, and the box is refused all the same.
    let none = Revocations::new();
    let coordinator = Coordinator::verify(&certificate, &root, now, &none).unwrap();
    let authority = Authority { root: &root, coordinator: &coordinator, revocations: &none };
    let entry = Entry {
        chain: chain.clone(),
        membership: membership.clone(),
        wireguard: vec![binding.clone()].try_into().unwrap(),
        endpoints: List::new(),
    };
    let refused = Peer::accept(&entry, &authority, now, &mut Roster::new()).unwrap_err();
    assert_eq!(refused, PeerError::Chain(ChainError::Invite(VerifyError::Forged)));

    // And through the real programs.
    let thief = rusqlite::Connection::open(house.data_dir().join("coordinator.db")).unwrap();
    let id = *chain.invite.id().as_bytes();
    thief
        .execute(
            "INSERT INTO invite (id, statement, name, expires, boxes, uses) VALUES (?1, ?2, 'eve', 1, 1, 1)",
            rusqlite::params![id, chain.invite.to_string()],
        )
        .unwrap();
    thief
        .execute(
            "INSERT INTO box (key, name, invite, certificate, membership, address, endpoints, version, board, enrolled)
             VALUES (?1, 'eve', ?2, ?3, ?4, ?5, '[]', '1', 'x', 1)",
            rusqlite::params![
                box_secret.public().as_bytes(),
                id,
                chain.certificate.to_string(),
                membership.to_string(),
                membership.claims().address.to_string()
            ],
        )
        .unwrap();
    thief
        .execute(
            "INSERT INTO wireguard (box, generation, key, statement) VALUES (?1, 1, ?2, ?3)",
            rusqlite::params![box_secret.public().as_bytes(), [9_u8; 32], binding.to_string()],
        )
        .unwrap();
    drop(thief);
    wait_for("ana to be told of the thief's box", || {
        house.status("ana").contains("peers        0; 1 in the map are refused").then_some(())
    });
    house.kill();
}
