//! The running service against its own description, by schemathesis. It comes from PyPI into the target directory, so
//! this is asked for by name: `cargo test -p coordinator-lite --test mesh -- --ignored`.

use std::path::PathBuf;
use std::process::Command;

use crate::house::{House, text};

/// The program, installed if it is not there.
fn schemathesis() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let place = own.ancestors().nth(3).unwrap().join("schemathesis");
    let program = place.join("bin/schemathesis");
    if !program.is_file() {
        let made = Command::new("python3").args(["-m", "venv"]).arg(&place).output().unwrap();
        assert!(made.status.success(), "{}", text(&made));
        let pip = place.join("bin/pip");
        let installed = Command::new(pip).args(["install", "--quiet", "schemathesis"]).output().unwrap();
        assert!(installed.status.success(), "{}", text(&installed));
    }
    program
}

#[test]
#[ignore = "installs schemathesis from PyPI, and takes minutes"]
fn the_service_answers_as_described() {
    let mut house = House::made("described");
    house.start_with(&["--uncounted"]);
    let document = format!("https://{}/api/v1/openapi.json", house.address());
    let run = Command::new(schemathesis())
        .args(["run", &document, "--tls-verify", "false", "--max-examples", "40", "--seed", "1"])
        // A body that fits the description is still refused when nobody signed it.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .current_dir(&house.dir)
        .output()
        .unwrap();
    println!("{}", text(&run));
    assert!(run.status.success());
    assert!(!house.log().contains("panicked"), "{}", house.log());
}
