//! The database by itself: races, migrations, damage. Refuses to need a service.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};

use trust::*;

use super::*;
use crate::scratch::Scratch;

const NOW: UnixSeconds = UnixSeconds::new(1_800_000_000);
const DAY: Duration = Duration::from_secs(86_400);

fn root() -> RootSecret {
    RootSecret::from_seed(&[1; 32])
}

fn mesh() -> MeshId {
    MeshId::of(&root().public())
}

fn invite(seed: u8, name: &str, boxes: u8) -> (Signed<Invite>, InviteSecret) {
    let secret = InviteSecret::from_seed(&[seed; 32]);
    let invite = Invite {
        mesh: mesh(),
        key: secret.public(),
        name: name.parse().unwrap(),
        kind: InviteKind::Box,
        limits: Limits { boxes, streams: 2 },
        issued: NOW,
        expires: NOW.plus(7 * DAY),
    };
    (Signed::sign(invite, &root()).unwrap(), secret)
}

fn enrolment(seed: u8, name: &str, invited: &(Signed<Invite>, InviteSecret)) -> Enrolment {
    let secret = BoxSecret::from_seed(&[seed; 32]);
    let certificate = BoxCertificate { mesh: mesh(), key: secret.public(), name: name.parse().unwrap() };
    let certificate = Signed::sign(certificate, &invited.1).unwrap();
    let chain = Chain { invite: invited.0.clone(), certificate };
    let binding = WireGuardBinding {
        mesh: mesh(),
        key: WireGuardKey::from_bytes([seed; 32]).unwrap(),
        generation: 1,
        boot: 1,
        valid_from: NOW,
    };
    Enrolment {
        identity: chain.verify(&root().public(), &Revocations::new()).unwrap(),
        wireguard: Signed::sign(binding, &secret).unwrap(),
        version: "1".into(),
        board: "test".into(),
        endpoints: List::new(),
        now: NOW,
    }
}

fn sign(membership: Membership) -> Result<Signed<Membership>, DecodeError> {
    Signed::sign(membership, &CoordinatorSecret::from_seed(&[2; 32]))
}

fn open(scratch: &Scratch) -> Database {
    Database::open(&scratch.path().join(FILE), NOW).unwrap()
}

#[test]
fn an_invite_lets_in_one_box_and_knows_it_again() {
    let scratch = Scratch::new("once");
    let mut database = open(&scratch);
    let invited = invite(1, "ana", 1);
    database.register_invite(&invited.0).unwrap();
    let first = database.enrol(&enrolment(1, "ana", &invited), sign).unwrap();
    let again = Enrolment { now: NOW.plus(DAY), ..enrolment(1, "ana", &invited) };
    assert_eq!(database.enrol(&again, sign).unwrap(), first);
    let refused = database.enrol(&enrolment(2, "ana-2", &invited), sign).unwrap_err();
    assert!(matches!(refused, Refused::InviteUsed { at: NOW, .. }), "{refused}");
    assert_eq!(database.boxes().unwrap().len(), 1);
}

#[test]
fn what_is_taken_is_refused_and_nothing_is_used_up() {
    let scratch = Scratch::new("taken");
    let mut database = open(&scratch);
    let (two, other) = (invite(1, "ana", 2), invite(2, "ana", 1));
    database.enrol(&enrolment(1, "ana", &two), sign).unwrap();
    let refused = database.enrol(&enrolment(2, "ana", &other), sign).unwrap_err();
    assert!(matches!(refused, Refused::NameTaken { .. }), "{refused}");
    let stolen =
        Enrolment { wireguard: enrolment(1, "ana", &two).wireguard, ..enrolment(2, "ana-2", &other) };
    assert!(matches!(database.enrol(&stolen, sign).unwrap_err(), Refused::KeyTaken));
    let refused = database.enrol(&enrolment(1, "ana-3", &other), sign).unwrap_err();
    assert!(matches!(refused, Refused::OtherInvite), "{refused}");
    let uses = |database: &Database, at: usize| database.invites().unwrap()[at].uses;
    let used: u32 = (0..database.invites().unwrap().len()).map(|at| uses(&database, at)).sum();
    assert_eq!(used, 1, "refused attempts use nothing up");
    database.enrol(&enrolment(3, "ana-attic", &two), sign).unwrap();
    database.enrol(&enrolment(2, "ana-2", &other), sign).unwrap();
    assert_eq!(database.boxes().unwrap().len(), 3);
}

#[test]
fn an_address_that_is_taken_gives_way_to_the_next() {
    let scratch = Scratch::new("address");
    let mut database = open(&scratch);
    let (one, two) = (invite(1, "ana", 1), invite(2, "bob", 1));
    database.enrol(&enrolment(1, "ana", &one), sign).unwrap();
    let bob = enrolment(2, "bob", &two);
    let prefix = MeshPrefix::of(&mesh());
    let first = prefix.of_box(bob.identity.key(), 0).to_string();
    database.connection.execute("UPDATE box SET address = ?1", [&first]).unwrap();
    let membership = database.enrol(&bob, sign).unwrap();
    assert_eq!(membership.claims().address, prefix.of_box(bob.identity.key(), 1));
}

#[test]
fn an_expired_invite_is_not_used_even_when_the_caller_forgot() {
    let scratch = Scratch::new("expired");
    let mut database = open(&scratch);
    let invited = invite(1, "ana", 1);
    let late = Enrolment { now: NOW.plus(7 * DAY), ..enrolment(1, "ana", &invited) };
    assert!(matches!(database.enrol(&late, sign), Err(Refused::InviteUsed { .. })));
    assert!(database.boxes().unwrap().is_empty());
}

#[test]
fn keys_follow_each_other_and_belong_to_one_box() {
    let scratch = Scratch::new("keys");
    let mut database = open(&scratch);
    let (ana, bob) = (enrolment(1, "ana", &invite(1, "ana", 1)), enrolment(2, "bob", &invite(2, "bob", 1)));
    database.enrol(&ana, sign).unwrap();
    database.enrol(&bob, sign).unwrap();
    let binding = |seed: u8, key: u8, generation| {
        let binding = WireGuardBinding {
            mesh: mesh(),
            key: WireGuardKey::from_bytes([key; 32]).unwrap(),
            generation,
            boot: 1,
            valid_from: NOW.plus(DAY),
        };
        Signed::sign(binding, &BoxSecret::from_seed(&[seed; 32])).unwrap()
    };
    let key = ana.identity.key();
    for generation in 2..6 {
        database.bind(key, &binding(1, 10 + generation as u8, generation)).unwrap();
    }
    assert_eq!(
        database.boxes().unwrap().iter().find(|row| row.key() == key).unwrap().entry.wireguard.len(),
        2
    );
    assert!(matches!(database.bind(key, &binding(1, 2, 6)), Err(BindingRefused::Taken)));
    assert!(matches!(database.bind(key, &binding(1, 30, 3)), Err(BindingRefused::Rotation(_))));
    let stranger = BoxSecret::from_seed(&[9; 32]).public();
    assert!(matches!(database.bind(&stranger, &binding(9, 31, 1)), Err(BindingRefused::Unknown)));
}

#[test]
fn uptime_is_what_lies_between_heartbeats() {
    let scratch = Scratch::new("uptime");
    let mut database = open(&scratch);
    let ana = enrolment(1, "ana", &invite(1, "ana", 1));
    database.enrol(&ana, sign).unwrap();
    let key = *ana.identity.key();
    let mut beat = |second: u64| {
        let at = NOW.plus(Duration::from_secs(second));
        database.write(Durability::Normal, |transaction| uptime::note(transaction, &key, at)).unwrap();
    };
    // An hour of heartbeats, an hour of nothing, and one more.
    (0..=240).for_each(|n| beat(n * 15));
    beat(7200);
    let now = NOW.plus(Duration::from_secs(7200));
    let uptime = database.uptime(&key, NOW, now).unwrap();
    assert_eq!((uptime.days_7_milli, uptime.days_30_milli), (500, 500));
    let now = NOW.plus(10 * DAY);
    let uptime = database.uptime(&key, NOW, now).unwrap();
    assert_eq!((uptime.days_7_milli, uptime.days_30_milli), (0, 4), "3600 s of 7 d and of 10 d");
}

#[test]
fn a_connection_is_up_while_either_of_the_two_tells_a_path() {
    let scratch = Scratch::new("connections");
    let mut database = open(&scratch);
    let keys = ["ana", "bob", "carl"].into_iter().zip(1..).map(|(name, seed)| {
        let come = NOW.plus(Duration::from_secs(if name == "carl" { 3600 } else { 0 }));
        let enrolment = Enrolment { now: come, ..enrolment(seed, name, &invite(seed, name, 1)) };
        database.enrol(&enrolment, sign).unwrap();
        *enrolment.identity.key()
    });
    let keys: Vec<_> = keys.collect();
    let [ana, bob, carl] = keys[..] else { panic!() };
    let stranger = BoxSecret::from_seed(&[9; 32]).public();
    let mut tell = |from: &BoxKey, peer: &BoxKey, kind, second: u64| {
        let (endpoint, round_trip_ms, handshake_age_s) = (None, None, None);
        let (sent_bytes, received_bytes) = (0, 0);
        let path = wire::heartbeat::PeerPath {
            peer: *peer,
            kind,
            endpoint,
            round_trip_ms,
            handshake_age_s,
            sent_bytes,
            received_bytes,
        };
        let at = NOW.plus(Duration::from_secs(second));
        let told = database.write(Durability::Normal, |to| connections::note(to, from, &[path], at));
        told.unwrap();
    };
    use wire::heartbeat::PathKind::{Direct, None as NoPath, RelayedTls};
    // An hour, told by both in turn; then nothing; then half an hour, of which one side alone speaks.
    (0..=120).for_each(|n| tell(&ana, &bob, Direct, n * 30));
    (0..=120).for_each(|n| tell(&bob, &ana, RelayedTls, n * 30));
    (120..=180).for_each(|n| tell(&ana, &bob, NoPath, n * 30));
    (180..=240).for_each(|n| tell(&bob, &ana, Direct, n * 30));
    // The second of carl's two hours.
    (240..=360).for_each(|n| tell(&carl, &bob, Direct, n * 30));
    tell(&ana, &stranger, Direct, 0);
    tell(&ana, &ana, Direct, 0);
    let now = NOW.plus(Duration::from_secs(10_800));
    let up = |of: &BoxKey| -> Vec<(BoxKey, u32, u32)> {
        let all = database.connections(of, now).unwrap();
        all.into_iter().map(|(peer, up)| (peer, up.days_7_milli, up.days_30_milli)).collect()
    };
    assert_eq!(up(&ana), [(bob, 500, 500)], "5400 s of three hours");
    assert_eq!(up(&carl), [(bob, 500, 500)], "3600 s of the two hours since carl came in");
    assert_eq!(up(&bob).len(), 2);
    assert_eq!(up(&stranger), []);
}

#[test]
fn a_pair_that_parts_all_the_time_fills_no_disk() {
    let scratch = Scratch::new("parting");
    let mut database = open(&scratch);
    let (ana, bob) = (enrolment(1, "ana", &invite(1, "ana", 1)), enrolment(2, "bob", &invite(2, "bob", 1)));
    database.enrol(&ana, sign).unwrap();
    database.enrol(&bob, sign).unwrap();
    let path = wire::heartbeat::PeerPath {
        peer: *bob.identity.key(),
        kind: wire::heartbeat::PathKind::Direct,
        endpoint: None,
        round_trip_ms: None,
        handshake_age_s: None,
        sent_bytes: 0,
        received_bytes: 0,
    };
    database
        .write(Durability::Normal, |transaction| {
            (0..600).try_for_each(|n| {
                let at = NOW.plus(Duration::from_secs(n * 61));
                connections::note(transaction, ana.identity.key(), std::slice::from_ref(&path), at)
            })
        })
        .unwrap();
    let count = |database: &Database| -> (i64, i64) {
        let all = "SELECT count(*), min(began) FROM connection";
        database.connection.query_row(all, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    assert_eq!(count(&database), (512, 1_800_000_000 + 88 * 61), "the newest are kept");
}

#[test]
fn a_streams_name_is_the_first_boxes_until_it_is_left_for_a_month() {
    let scratch = Scratch::new("streams");
    let mut database = open(&scratch);
    let (ana, bob) = (enrolment(1, "ana", &invite(1, "ana", 1)), enrolment(2, "bob", &invite(2, "bob", 1)));
    database.enrol(&ana, sign).unwrap();
    database.enrol(&bob, sign).unwrap();
    let mut beat = |of: &Enrolment, names: &[&str], day: u32| {
        let key = *of.identity.key();
        let report = |name: &&str| wire::heartbeat::StreamReport {
            name: name.parse().unwrap(),
            owner: key,
            live_since: NOW,
            bitrate_bps: 1,
            viewers: 0,
            access: Access::Open,
            key: None,
        };
        let streams: Vec<_> = names.iter().map(report).collect();
        let heartbeat = wire::Heartbeat {
            version: "1".parse().unwrap(),
            board: "test".parse().unwrap(),
            uptime_s: 1,
            boot: 1,
            load_milli: 0,
            temperature_milli_c: None,
            map_epoch: None,
            revocations: Revocations::new().digest(),
            endpoints: List::new(),
            paths: List::new(),
            streams: streams.try_into().unwrap(),
            watch: List::new(),
        };
        database.heartbeat(&key, &heartbeat, 2, NOW.plus(DAY * day)).unwrap().notices
    };
    assert_eq!(beat(&ana, &["live"], 0), []);
    assert_eq!(beat(&bob, &["live"], 1), [wire::Code::StreamTaken]);
    assert_eq!(beat(&ana, &["live", "two"], 2), []);
    assert_eq!(beat(&ana, &["three"], 2), [wire::Code::Forbidden], "two are allowed");
    assert_eq!(beat(&bob, &["live"], 32), [wire::Code::StreamTaken]);
    assert_eq!(beat(&bob, &["live"], 33), []);
    assert_eq!(beat(&ana, &["live"], 33), [wire::Code::StreamTaken]);
}

#[test]
fn every_schema_is_brought_up_to_date_with_a_copy_beside() {
    for from in 1..=SCHEMA_LATEST {
        let scratch = Scratch::new("migration");
        let path = scratch.path().join(FILE);
        let (invited, ana) = (invite(1, "ana", 1), enrolment(1, "ana", &invite(1, "ana", 1)));
        let mut old = Database::connect(&path, OpenFlags::SQLITE_OPEN_CREATE).unwrap();
        schema::steps(&mut old.connection, from).unwrap();
        old.register_invite(&invited.0).unwrap();
        let membership = old.enrol(&ana, sign).unwrap();
        drop(old);
        let database = Database::open_existing(&path, NOW).unwrap();
        assert_eq!(database.schema().unwrap(), SCHEMA_LATEST, "from {from}");
        let row = &database.boxes().unwrap()[0];
        assert_eq!((row.entry.membership.clone(), row.name().as_str()), (membership, "ana"));
        let copies = fs::read_dir(scratch.path()).unwrap().filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.starts_with(&format!("coordinator.db.schema-{from}-")).then_some(name)
        });
        let copies: Vec<_> = copies.collect();
        assert_eq!(copies.len(), usize::from(from < SCHEMA_LATEST), "from {from}: {copies:?}");
        for copy in copies {
            let copy = Database::connect(&scratch.path().join(copy), OpenFlags::empty()).unwrap();
            assert_eq!(copy.schema().unwrap(), from);
        }
    }
}

#[test]
fn newer_and_foreign_files_are_refused_and_left_alone() {
    let scratch = Scratch::new("newer");
    let path = scratch.path().join(FILE);
    let database = open(&scratch);
    database.connection.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(database);
    let before = fs::read(&path).unwrap();
    let error = Database::open_existing(&path, NOW).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the database has schema 99, and this software knows up to {SCHEMA_LATEST}")
    );
    assert_eq!(error.code(), wire::Code::DatabaseNewer);
    assert_eq!(fs::read(&path).unwrap(), before);
    let foreign = scratch.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE diary (day TEXT)").unwrap();
    assert!(matches!(Database::open(&foreign, NOW), Err(StoreError::Foreign(_))));
    let missing = Database::open_existing(&scratch.path().join("none"), NOW).unwrap_err();
    assert!(matches!(missing, StoreError::Missing(_)));
}

#[test]
fn damage_is_found_and_said() {
    let scratch = Scratch::new("damage");
    let path = scratch.path().join(FILE);
    let mut database = open(&scratch);
    for seed in 1..20 {
        let name = format!("box-{seed}");
        database.enrol(&enrolment(seed, &name, &invite(seed, &name, 1)), sign).unwrap();
    }
    let copy = scratch.path().join("copy.db");
    database.copy_to(&copy).unwrap();
    drop(database);
    let pages = fs::metadata(&copy).unwrap().len() / 4096;
    let mut found = 0;
    for page in 1..pages {
        fs::copy(&copy, &path).unwrap();
        let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.seek(SeekFrom::Start(page * 4096)).unwrap();
        file.write_all(&[0xa5; 64]).unwrap();
        drop(file);
        match Database::open_existing(&path, NOW) {
            Err(error) => {
                assert_eq!(error.code(), wire::Code::DatabaseCorrupt, "page {page}: {error}");
                found += 1;
            }
            Ok(_) => panic!("page {page} is damaged, and nothing was said"),
        }
    }
    assert!(found > 5, "{found} of {pages}");
}

#[test]
fn a_lock_is_waited_for_and_then_said() {
    let scratch = Scratch::new("lock");
    let mut database = open(&scratch);
    let other = Connection::open(scratch.path().join(FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = database.register_invite(&invite(1, "ana", 1).0).unwrap_err();
    assert_eq!(error.code(), wire::Code::DatabaseLocked);
    other.execute_batch("ROLLBACK").unwrap();
    database.register_invite(&invite(1, "ana", 1).0).unwrap();
}

#[test]
fn a_database_that_cannot_be_written_is_said() {
    let scratch = Scratch::new("read-only");
    let mut database = open(&scratch);
    database.connection.execute_batch("PRAGMA query_only = ON").unwrap();
    let error = database.register_invite(&invite(1, "ana", 1).0).unwrap_err();
    assert_eq!(error.code(), wire::Code::DatabaseReadOnly, "{error}");
}

#[test]
fn a_full_disk_is_said_and_nothing_is_half_written() {
    let scratch = Scratch::new("full");
    let mut database = open(&scratch);
    let pages: i64 = database.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    database.connection.execute_batch(&format!("PRAGMA max_page_count = {}", pages + 1)).unwrap();
    let full = (1..200).find_map(|seed| {
        let name = format!("box-{seed}");
        let refused = database.enrol(&enrolment(seed, &name, &invite(seed, &name, 1)), sign).err()?;
        Some((seed, refused))
    });
    let (seed, refused) = full.unwrap();
    assert!(matches!(&refused, Refused::Store(error) if error.code() == wire::Code::DiskFull), "{refused}");
    database.check().unwrap();
    let known = database.boxes().unwrap().len();
    assert_eq!(known, usize::from(seed) - 1);
    database.connection.execute_batch("PRAGMA max_page_count = 100000").unwrap();
    let name = format!("box-{seed}");
    database.enrol(&enrolment(seed, &name, &invite(seed, &name, 1)), sign).unwrap();
}

#[test]
fn a_box_that_a_backup_lost_is_taken_back_once() {
    let scratch = Scratch::new("readmit");
    let (ana, impostor) =
        (enrolment(1, "ana", &invite(1, "ana", 1)), enrolment(2, "ana-2", &invite(1, "ana", 1)));
    let membership = open(&scratch).enrol(&ana, sign).unwrap();
    let other = Scratch::new("readmit");
    let mut lost = open(&other);
    lost.readmit(&ana, &membership).unwrap();
    lost.readmit(&ana, &membership).unwrap();
    assert_eq!(lost.boxes().unwrap()[0].entry.membership, membership);
    assert!(matches!(lost.enrol(&impostor, sign), Err(Refused::InviteUsed { .. })));
}
