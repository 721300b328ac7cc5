//! `setup`: three questions on a machine that has nothing, and none on one that is set up.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::house::{read, text};

struct Machine(PathBuf);

impl Machine {
    fn new(name: &str) -> Machine {
        let dir = std::env::temp_dir().join(format!("setup-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Machine(dir)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// What it said, and whether it went well.
    fn setup(&self, typed: &str, options: &[&str]) -> (String, bool) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coordinator-lite"));
        command.arg("setup").arg("--data-dir").arg(self.at("service"));
        command.arg("--root-dir").arg(self.at("operator")).args(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may end before it has read all of it.
        let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
        let output = child.wait_with_output().unwrap();
        (text(&output), output.status.success())
    }

    /// Everything that must not be lost.
    fn kept(&self) -> Vec<String> {
        [
            "operator/root.key",
            "service/coordinator.key",
            "service/tls.key",
            "service/mesh.json",
            "service/url",
        ]
        .map(|name| read(&self.at(name)))
        .to_vec()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn invite_in(said: &str) -> bool {
    said.lines().any(|line| line.starts_with("RELAYBOX1"))
}

#[test]
fn three_answers_make_a_mesh_and_an_invite() {
    let machine = Machine::new("three");
    let (said, well) = machine.setup("my mesh\n203.0.113.7\nlots\n18443\nANA!\nana\n", &[]);
    assert!(well, "{said}");
    assert!(said.contains("\"my mesh\" is no name of a machine"), "{said}");
    assert!(said.contains("\"lots\" is no port: take a number from 1 to 65535"), "{said}");
    assert!(said.contains("\"ANA!\" can't be: "), "{said}");
    assert_eq!(read(&machine.at("service/url")).trim(), "https://203.0.113.7:18443");
    assert_eq!(read(&machine.at("service/port")).trim(), "18443");
    assert!(invite_in(&said) && said.contains("For ana, until "), "{said}");
    assert!(said.contains("Next: coordinator-lite serve --data-dir "), "{said}");

    // Again: nothing is asked and nothing is lost, whatever is typed.
    let before = machine.kept();
    let (said, well) = machine.setup("", &[]);
    assert!(well && said.contains("Kept the mesh ") && !said.contains("1. "), "{said}");
    assert!(said.contains("at https://203.0.113.7:18443, as before") && !invite_in(&said), "{said}");
    assert_eq!(machine.kept(), before);

    // Only what is said changes.
    let (said, well) = machine.setup("", &["--host", "mesh.invalid", "--invite", "bob"]);
    assert!(well && invite_in(&said), "{said}");
    assert!(said.contains("Mind: nothing is known yet of the name mesh.invalid"), "{said}");
    assert_eq!(read(&machine.at("service/url")).trim(), "https://mesh.invalid:18443");
    assert_eq!(machine.kept()[..4], before[..4]);
}

#[test]
fn nobody_at_the_keyboard() {
    let machine = Machine::new("unattended");
    let empty = |machine: &Machine| !machine.at("service").exists() && !machine.at("operator").exists();
    let (said, well) = machine.setup("", &[]);
    assert!(!well && said.contains("--host, or --yes"), "{said}");
    assert!(empty(&machine), "nothing is made before all is answered");
    let (said, well) = machine.setup("", &["--yes", "--host", "a_b"]);
    assert!(!well && said.contains("is no name of a machine"), "{said}");
    let taken = TcpListener::bind("[::]:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (said, well) = machine.setup("", &["--yes", "--host", "203.0.113.7", "--port", &port]);
    assert!(!well && said.contains(&format!("port {port} is taken by another program")), "{said}");
    assert!(empty(&machine), "nothing is made before all is answered");
    drop(taken);
    let (said, well) = machine.setup("", &["--yes", "--host", "203.0.113.7", "--port", &port]);
    assert!(well && !invite_in(&said), "{said}");
    assert!(Path::new(&machine.at("service/coordinator.db")).is_file(), "{said}");
}

#[test]
fn a_mesh_whose_root_is_elsewhere_is_left_alone() {
    let machine = Machine::new("elsewhere");
    let (said, well) = machine.setup("", &["--yes", "--host", "203.0.113.7", "--port", "18443"]);
    assert!(well, "{said}");
    fs::rename(machine.at("operator"), machine.at("away")).unwrap();
    let (said, well) = machine.setup("", &["--yes", "--host", "203.0.113.8"]);
    assert!(!well && said.contains("nothing was changed"), "{said}");
    assert_eq!(read(&machine.at("service/url")).trim(), "https://203.0.113.7:18443");
}
