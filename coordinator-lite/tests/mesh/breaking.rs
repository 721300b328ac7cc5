//! The coordinator dies, its disk is taken away, its database is damaged: boxes go on, and nothing is lost.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};

use crate::client::ask;
use crate::house::{House, text, wait_for};

#[test]
fn a_coordinator_that_was_killed_comes_back_to_its_boxes() {
    let mut house = House::running("killed");
    house.joined("ana");
    let mut ana = house.run("ana");
    ana.wait_for_log("a map came");
    house.kill();
    ana.wait_for_log("without the coordinator: streams go on");
    assert!(house.status("ana").contains("good until"));
    house.start();
    ana.wait_for_log("the coordinator is back");
    wait_for("ana to be connected", || house.log().matches("a box is connected").nth(1).map(drop));
    house.joined("bob");
    wait_for("ana to hear of bob", || house.status("ana").contains("peers        1: bob").then_some(()));
}

#[test]
fn a_locked_database_is_said_and_the_invite_is_not_used() {
    let house = House::running("locked");
    let invite = house.invite("ana", &[]);
    let other = rusqlite::Connection::open(house.data_dir().join("coordinator.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let end = house.join("ana", &invite, &[]);
    assert!(
        !end.status.success() && text(&end).contains("The coordinator's database is locked"),
        "{}",
        text(&end)
    );
    assert!(text(&end).contains("Nothing was lost; try again"), "{}", text(&end));
    let made = house.operate(&["invite"], &["--name", "bob"]);
    assert!(!made.status.success() && text(&made).contains("locked by another program"), "{}", text(&made));
    other.execute_batch("ROLLBACK").unwrap();
    let joined = house.join("ana", &invite, &[]);
    assert!(joined.status.success(), "{}", text(&joined));
}

#[test]
fn a_damaged_database_is_said_and_left_as_it_is() {
    let mut house = House::running("damaged");
    for name in ["ana", "bob", "eve"] {
        house.joined(name);
    }
    let copy = house.dir.join("copy.db");
    let backup = house.look(&["backup"], &[copy.to_str().unwrap()]);
    assert!(backup.status.success(), "{}", text(&backup));
    house.kill();
    let path = house.data_dir().join("coordinator.db");
    for file in ["coordinator.db-wal", "coordinator.db-shm"] {
        let _ = fs::remove_file(house.data_dir().join(file));
    }
    fs::copy(&copy, &path).unwrap();
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&[0xff; 512]).unwrap();
    drop(file);
    let damaged = fs::read(&path).unwrap();
    let serve = house.look(&["serve"], &["--listen", "127.0.0.1:0"]);
    assert!(!serve.status.success() && text(&serve).contains("the database is damaged"), "{}", text(&serve));
    assert!(text(&serve).contains("coordinator-lite restore"), "{}", text(&serve));
    assert_eq!(fs::read(&path).unwrap(), damaged);
    let doctor = house.look(&["doctor"], &[]);
    assert!(!doctor.status.success() && text(&doctor).contains("BAD   database"), "{}", text(&doctor));

    let restored = house.look(&["restore"], &[copy.to_str().unwrap()]);
    assert!(restored.status.success() && text(&restored).contains("is kept as"), "{}", text(&restored));
    house.start();
    let list = text(&house.look(&["box", "list"], &[]));
    assert!(["ana ", "bob ", "eve "].iter().all(|name| list.contains(name)), "{list}");
}

#[test]
fn restoring_over_news_takes_force_and_keeps_what_was_there() {
    let mut house = House::running("restore");
    house.joined("ana");
    let copy = house.dir.join("copy.db");
    let (backup, to) = (["backup"], copy.to_str().unwrap().to_owned());
    assert!(house.look(&backup, &[&to]).status.success());
    let twice = house.look(&backup, &[&to]);
    assert!(text(&twice).contains("is there already"), "{}", text(&twice));
    // Times are whole seconds: the next box came in later than the copy only in another one.
    let second = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let copied = second();
    wait_for("another second", || (second() > copied).then_some(()));
    house.joined("bob");
    let mut bob = house.run("bob");
    bob.wait_for_log("a map came");
    let running = house.look(&["restore"], &[&to]);
    assert!(text(&running).contains("the service is running"), "{}", text(&running));
    house.kill();
    let refused = house.look(&["restore"], &[&to]);
    assert!(!refused.status.success() && text(&refused).contains("--force"), "{}", text(&refused));
    let forced = house.look(&["restore"], &[&to, "--force"]);
    assert!(forced.status.success() && text(&forced).contains("is kept as"), "{}", text(&forced));
    let list = text(&house.look(&["box", "list"], &[]));
    assert!(list.contains("ana ") && !list.contains("bob "), "{list}");
    house.start();
    // The box that the copy does not know brings the coordinator's own word, and is taken back.
    wait_for("bob to be taken back", || {
        text(&house.look(&["box", "list"], &[])).contains("bob ").then_some(())
    });
}

#[test]
fn a_flood_and_a_giant_are_stopped() {
    let house = House::running("flood");
    let at = house.address();
    let codes: Vec<u16> = (0..60).map(|_| ask(at, "POST", "/api/v1/enrol", "", b"{}").0).collect();
    assert_eq!(codes[0], 400);
    let first = codes.iter().position(|code| *code == 429).unwrap();
    assert!((30..=50).contains(&first), "{first}");
    let (status, head, body) = ask(at, "POST", "/api/v1/evidence", "", &vec![b' '; (1 << 20) + 1]);
    assert_eq!(status, 413, "{body}");
    assert!(head.to_ascii_lowercase().contains("application/problem+json"), "{head}");
}
