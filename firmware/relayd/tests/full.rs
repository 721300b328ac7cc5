//! A box whose disk is full: it starts, serves, refuses what it can't keep in words that help, and keeps what it had.
//!
//! The disk is a small one in memory, in a mount namespace of the test's own. Where nobody may make one, the test says so.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
/// What `serve` says of it.
const SENTENCE: &str = "the box's card is full";

/// A disk of half a MiB, for as long as this is held.
struct Disk {
    holder: Child,
    dir: PathBuf,
}

impl Disk {
    fn new(name: &str) -> Option<Disk> {
        let dir = std::env::temp_dir().join(format!("relayd-full-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let script = "mount -t tmpfs -o size=512k,mode=0755 tmpfs \"$0\" && echo here && exec cat";
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(&dir);
        let mut holder = unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        if said != "here\n" {
            holder.wait().unwrap();
            fs::remove_dir_all(&dir).unwrap();
            println!("skipped: this machine makes no mount namespaces");
            return None;
        }
        Some(Disk { holder, dir })
    }

    /// As it is seen from outside.
    fn at(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.dir.strip_prefix("/").unwrap()).join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }

    fn fill(&self, name: &str) {
        let mut filler = fs::File::create(self.at(name)).unwrap();
        let error = loop {
            if let Err(error) = filler.write_all(&[1; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }

    fn relayd(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--user", "--mount", "--preserve-credentials", "--target"]);
        command.arg(self.holder.id().to_string()).arg(env!("CARGO_BIN_EXE_relayd"));
        command
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        let _ = fs::remove_file(self.dir.with_extension("toml"));
        let _ = fs::remove_dir_all(&self.dir);
    }
}

struct Relay<'a> {
    process: Child,
    disk: &'a Disk,
    port: u16,
}

impl Relay<'_> {
    fn start(disk: &Disk) -> Relay<'_> {
        // Known only by what the box writes down, which it can't; so one that is free is named to it.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = disk.relayd();
        let config = disk.dir.with_extension("toml");
        // What packages media would write a registry of its own at a moment of its own.
        fs::write(&config, "[media]\npackager = \"/bin/true\"\n").unwrap();
        command.arg("run").arg("--config").arg(&config);
        command.args(["--standalone", "--rtmp", "127.0.0.1:0", "--stream", "demo", "--data-dir"]);
        command.arg(&disk.dir).args(["--http", &format!("127.0.0.1:{port}")]);
        let log = fs::File::create(std::env::temp_dir().join(format!("relayd-full-{port}.log"))).unwrap();
        let process = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut started = Relay { process, disk, port };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.process.try_wait().unwrap().is_none(), "it ended: {}", started.log());
            assert!(began.elapsed() < LIMIT, "it does not answer: {}", started.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        started
    }

    fn log(&self) -> String {
        fs::read_to_string(std::env::temp_dir().join(format!("relayd-full-{}.log", self.port))).unwrap()
    }

    /// Head and body.
    fn ask(&self, method: &str, path: &str, more: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let (port, length) = (self.port, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             {more}Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn enter(&self) -> String {
        let pin = self.disk.read("pin");
        let answer = self.ask("POST", "/api/v1/session", "", &format!("{{\"pin\": \"{}\"}}", pin.trim()));
        let cookie = answer
            .lines()
            .find_map(|line| line.strip_prefix("set-cookie: "))
            .unwrap_or_else(|| panic!("{answer}"));
        format!("Cookie: {}\r\n", cookie.split(';').next().unwrap())
    }
}

impl Drop for Relay<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(std::env::temp_dir().join(format!("relayd-full-{}.log", self.port)));
    }
}

#[test]
fn a_box_on_a_full_disk_serves_and_keeps_what_it_had() {
    let Some(disk) = Disk::new("box") else { return };
    let first = Relay::start(&disk);
    let kept = ["pin", "streams.toml", "numbers/demo.msn"];
    let before = kept.map(|name| disk.read(name));
    disk.fill("filler");
    let refused = |running: &Relay<'_>| {
        let cookie = running.enter();
        for (method, path, body) in [
            ("POST", "/api/v1/studio/streams", "{\"name\": \"another\"}"),
            ("POST", "/api/v1/studio/streams/demo/key", ""),
            ("PUT", "/api/v1/studio/streams/demo/access", "{\"access\": \"link\"}"),
        ] {
            let answer = running.ask(method, path, &cookie, body);
            assert!(answer.starts_with("HTTP/1.1 507 ") && answer.contains(SENTENCE), "{path}: {answer}");
        }
        let studio = running.ask("GET", "/api/v1/studio", &cookie, "");
        assert!(studio.contains("\"demo\"") && !studio.contains("\"another\""), "{studio}");
    };
    refused(&first);
    drop(first);

    let again = Relay::start(&disk);
    assert!(again.ask("GET", "/healthz", "", "").starts_with("HTTP/1.1 200 "), "{}", again.log());
    refused(&again);
    assert_eq!(kept.map(|name| disk.read(name)), before, "what was there is lost");
    let left: Vec<_> = fs::read_dir(disk.at("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".new")), "{left:?}");

    fs::remove_file(disk.at("filler")).unwrap();
    let answer = again.ask("POST", "/api/v1/studio/streams", &again.enter(), "{\"name\": \"another\"}");
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}

#[test]
fn what_does_not_fit_stays_on_the_card() {
    let Some(disk) = Disk::new("card") else { return };
    let card = disk.dir.with_extension("card");
    fs::create_dir_all(&card).unwrap();
    let base = card.join("base.toml");
    fs::write(&base, "standalone = true\n").unwrap();
    let slip = "name = \"attic\"\npin = \"4711\"\n";
    fs::write(card.join("relaybox.toml"), slip).unwrap();
    for folder in ["kept", "data"] {
        fs::create_dir(disk.at(folder)).unwrap();
    }
    let start = || {
        let mut command = disk.relayd();
        command.arg("card").arg("--card").arg(&card).arg("--kept").arg(disk.dir.join("kept"));
        command.arg("--base").arg(&base).arg("--settings").arg(card.join("relayd.toml"));
        let output = command.arg("--data-dir").arg(disk.dir.join("data")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    disk.fill("data/filler");
    start();
    assert_eq!(fs::read_to_string(card.join("relaybox.toml")).unwrap(), slip);
    let error = fs::read_to_string(card.join("RELAYBOX-ERROR.txt")).unwrap();
    assert!(error.contains("no room left on its card") && error.contains("relaybox-reset.txt"), "{error}");

    // A reset needs no room.
    fs::write(card.join("relaybox-reset.txt"), "relaybox\n").unwrap();
    start();
    assert!(!disk.at("data/filler").exists() && !card.join("relaybox-reset.txt").exists());
    assert_eq!(disk.read("data/pin"), "4711\n", "and then there is room for what the card says");
    assert!(!card.join("RELAYBOX-ERROR.txt").exists() && !card.join("relaybox.toml").exists());
    fs::remove_dir_all(&card).unwrap();
}
