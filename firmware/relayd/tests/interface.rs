//! `relayd interface` in a network namespace, beside one who has the interface open or is about to.
//!
//! As anybody but root this test has nothing to stand on, and says so.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dataplane::Tun;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const INTERFACE: &str = "rbtest0";

struct Place {
    namespace: String,
    dir: PathBuf,
}

impl Place {
    fn new(name: &str) -> Option<Place> {
        if !rustix::process::geteuid().is_root() || !Path::new("/dev/net/tun").exists() {
            println!("skipped: namespaces and /dev/net/tun need root");
            return None;
        }
        let namespace = format!("rbi{}{name}", std::process::id());
        if !Command::new("ip").args(["netns", "add", &namespace]).status().unwrap().success() {
            println!("skipped: this machine makes no network namespaces");
            return None;
        }
        let dir = std::env::temp_dir().join(&namespace);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("relayd.toml"), format!("[mesh]\ninterface = \"{INTERFACE}\"\n")).unwrap();
        Some(Place { namespace, dir })
    }

    fn ip(&self, words: &str) -> String {
        let output =
            Command::new("ip").args(["-n", &self.namespace]).args(words.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn relayd(&self, more: &[&str]) -> Output {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, env!("CARGO_BIN_EXE_relayd"), "interface"]);
        command.arg("--config").arg(self.dir.join("relayd.toml")).arg("--data-dir").arg(&self.dir);
        command.args(more).output().unwrap()
    }

    fn made(&self) {
        let output = self.relayd(&[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The kernel gives each interface another one.
    fn number(&self) -> String {
        let link = self.ip(&format!("-oneline link show dev {INTERFACE}"));
        link.split(':').next().unwrap().to_owned()
    }

    /// As the daemon has it.
    fn open(&self) -> Tun {
        let namespace = File::open(format!("/run/netns/{}", self.namespace)).unwrap();
        let open = move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            Tun::open(INTERFACE).unwrap()
        };
        std::thread::spawn(open).join().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).status();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn an_interface_that_is_there_stays_and_loses_what_is_stale() {
    let Some(place) = Place::new("stay") else { return };
    place.made();
    let number = place.number();
    place.ip(&format!("address add fd00:77::1/128 dev {INTERFACE}"));
    place.ip(&format!("address add 192.0.2.9/32 dev {INTERFACE}"));
    place.made();
    assert_eq!(place.number(), number, "a daemon that looks just then finds nothing");
    let addresses = place.ip(&format!("address show dev {INTERFACE}"));
    assert!(!addresses.contains("fd00:77::1") && !addresses.contains("192.0.2.9"), "{addresses}");
    let held = place.open();
    place.made();
    assert_eq!(place.number(), number);
    drop(held);
    assert!(place.relayd(&["--remove"]).status.success());
    assert!(!place.ip("link show").contains(INTERFACE));
}

#[test]
fn one_for_another_user_is_made_anew_when_nobody_has_it() {
    let Some(place) = Place::new("owner") else { return };
    place.made();
    let number = place.number();
    chown(&place.dir, Some(7777), None).unwrap();
    let held = place.open();
    let refused = place.relayd(&[]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another process has the interface"));
    drop(held);
    place.made();
    assert_ne!(place.number(), number);
    assert!(place.ip("-details link show dev rbtest0").contains("user 7777"));
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let Some(place) = Place::new("other") else { return };
    place.ip(&format!("link add {INTERFACE} type veth peer name far"));
    place.ip(&format!("address add fd00:77::1/128 dev {INTERFACE}"));
    let refused = place.relayd(&[]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("is no TUN device"), "{said}");
    assert!(place.ip(&format!("address show dev {INTERFACE}")).contains("fd00:77::1"));
    // A network that was there before.
    let external = format!("[mesh]\nmode = \"external\"\ninterface = \"{INTERFACE}\"\n");
    fs::write(place.dir.join("relayd.toml"), external).unwrap();
    place.made();
    assert!(place.ip(&format!("address show dev {INTERFACE}")).contains("fd00:77::1"));
}
