//! Being put out: the box is refused, and the others hear of it at once.

use std::time::{Duration, Instant};

use crate::house::{House, text, wait_for};

#[test]
fn a_revoked_box_is_out_and_the_others_hear_of_it() {
    let mut house = House::running("revoked");
    house.joined("ana");
    house.joined("bob");
    let (mut ana, mut bob) = (house.run("ana"), house.run("bob"));
    ana.wait_for_log("a map came");
    bob.wait_for_log("a map came");
    wait_for("both to know each other", || house.status("bob").contains("peers        1: ana").then_some(()));
    let revoked = house.operate(&["box", "revoke"], &["ana"]);
    assert!(revoked.status.success(), "{}", text(&revoked));
    let told = Instant::now();
    wait_for("bob to hear of it", || bob.mesh().contains("\"revocations\": [\n").then_some(()));
    assert!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
    wait_for("bob's map without ana", || house.status("bob").contains("peers        0").then_some(()));
    ana.wait_for_log("this box was taken out of the mesh");
    assert!(house.status("ana").contains("revoked: the mesh's root took this box out"));
    let again = house.operate(&["box", "revoke"], &["ana"]);
    assert!(text(&again).contains("revoked already"), "{}", text(&again));

    // The service forgets everything: what the root signed comes back with any box.
    house.kill();
    let database = house.data_dir().join("coordinator.db");
    for file in ["coordinator.db", "coordinator.db-wal", "coordinator.db-shm"] {
        let _ = std::fs::remove_file(house.data_dir().join(file));
    }
    // A copy from before would be restored here; none at all is the worst one.
    assert!(!database.exists());
    let made = house.operate(&["init"], &[]);
    assert!(made.status.success(), "{}", text(&made));
    house.start();
    let ((), _) = wait_for("bob to be taken back", || {
        text(&house.look(&["box", "list"], &[])).contains("bob ").then_some(())
    });
}

#[test]
fn an_open_invite_can_be_taken_back() {
    let house = House::running("open");
    let invite = house.invite("ana", &[]);
    assert!(text(&house.look(&["box", "list"], &[])).contains("open invite for ana, used 0 of 1"));
    let revoked = house.operate(&["box", "revoke"], &["ana"]);
    assert!(revoked.status.success(), "{}", text(&revoked));
    // The service has looked at its database again once it knows another invite's box.
    house.joined("bob");
    let end = house.join("ana", &invite, &[]);
    assert!(text(&end).contains("The invite has been revoked"), "{}", text(&end));
    let nobody = house.operate(&["box", "revoke"], &["nobody"]);
    assert!(text(&nobody).contains("no box, no viewer and no open invite has the name"), "{}", text(&nobody));
}
