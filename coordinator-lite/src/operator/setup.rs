//! `setup`: from a machine that has only the package to a running coordinator, by at most three questions: where boxes
//! find it, on which port, and whom to invite first.
//!
//! What is there already is kept and not asked for. It refuses to guess an address that boxes outside can't reach, and
//! changes nothing before the last question is answered.

mod ask;
mod unit;

use std::io::{IsTerminal as _, stdin, stdout};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, ToSocketAddrs as _, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use trust::Name;
use trust::ticket::CoordinatorUrl;

use super::{apart, init, invite, root_dir};
use crate::service::{self, Mesh};
use crate::store::{Database, FILE};
use crate::{clock, doctor, file};
use ask::Questions;

/// The port of an address that names none.
const HTTPS: u16 = 443;

#[derive(Debug, Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    data: crate::DataDir,
    /// The operator's own directory, for the root's key; ~/.config/relaybox without this.
    #[arg(long, value_name = "DIR")]
    root_dir: Option<PathBuf>,
    /// The first answer: a name or a public address, without a port.
    #[arg(long, value_name = "HOST", value_parser = host)]
    host: Option<String>,
    /// The second answer.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The third answer.
    #[arg(long, value_name = "NAME")]
    invite: Option<Name>,
    /// Ask nothing: take what is said here, and for the rest what is usual.
    #[arg(long)]
    yes: bool,
}

/// What was there before.
#[derive(Debug, Default)]
struct Known {
    url: Option<CoordinatorUrl>,
    port: u16,
    /// Somebody was invited, or is in.
    friends: bool,
}

/// The three answers.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    url: CoordinatorUrl,
    port: u16,
    invite: Option<Name>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let (data_dir, root_dir) = (args.data.data_dir.clone(), root_dir(args.root_dir.clone())?);
    apart(&data_dir, &root_dir)?;
    let unit = unit::of(&data_dir);
    ensure!(
        unit.is_none() || rustix::process::geteuid().is_root(),
        "the service's directory and its unit are root's: sudo coordinator-lite setup"
    );
    let known = Known::read(&data_dir)?;
    let mut questions = Questions::new(stdin().lock(), stdout(), args.yes, !stdin().is_terminal());
    let plan = plan(&args, &known, &data_dir, &mut questions)?;
    let made = init::make(&data_dir, &root_dir)?;
    service::set_port(&data_dir, plan.port)?;
    service::set_url(&data_dir, &plan.url)?;
    file::hand_over(&data_dir)?;
    let mesh = Mesh::expect(&data_dir)?;
    println!("\n{} the mesh {}, at {}.", if made { "Made" } else { "Kept" }, mesh.id(), plan.url);
    let key = root_dir.join("root.key");
    println!("  root's key  {}  (yours alone: copy it to a safe place)", key.display());
    let changed = made || known.url.as_ref() != Some(&plan.url) || known.port != plan.port;
    if let Some(unit) = &unit {
        unit.start(plan.port, changed)?;
        println!("  service     runs at port {}, and with each start of the machine", plan.port);
    }
    if let Some(name) = plan.invite {
        println!("\nThe invite, to be sent as you would send a key:\n");
        invite::run(invite::Args::plain(data_dir.clone(), root_dir, name))?;
    }
    match unit {
        Some(_) => {
            println!();
            doctor::look(&data_dir);
            let port = plan.port;
            println!(
                "\nYour page, from your own computer: ssh -L {port}:localhost:{port} {}",
                plan.url.host()
            );
            println!("and then https://localhost:{port}/operator");
        }
        None => println!("\nNext: coordinator-lite serve --data-dir {}", data_dir.display()),
    }
    Ok(ExitCode::SUCCESS)
}

impl Known {
    fn read(dir: &Path) -> Result<Known> {
        let path = dir.join(FILE);
        let friends = if path.is_file() {
            let database = Database::open_existing(&path, clock::now());
            let database = database.with_context(|| format!("opening {}", path.display()))?;
            !database.invites()?.is_empty() || !database.boxes()?.is_empty()
        } else {
            false
        };
        Ok(Known { url: service::url(dir)?, port: service::port(dir)?, friends })
    }
}

fn plan(args: &Args, known: &Known, dir: &Path, questions: &mut Questions<'_>) -> Result<Plan> {
    let kept = known.url.as_ref();
    questions.say("What stands in brackets is taken by Enter alone.")?;
    let host = match (&args.host, kept) {
        (Some(host), _) => host.clone(),
        (None, Some(url)) => bracketed(url.host()),
        (None, None) => {
            let question =
                "1. Where do boxes find this machine? A name like mesh.example.org, or its public address";
            questions.ask(question, public_address().as_deref(), "--host", host)?
        }
    };
    let port = match (args.port, kept) {
        (Some(port), _) => free_port(port, dir).map_err(anyhow::Error::msg)?,
        (None, Some(_)) => known.port,
        (None, None) => {
            let question = "2. On which TCP port? 443 passes guests' networks that let nothing else out";
            let port = |text: &str| port(text).and_then(|port| free_port(port, dir));
            questions.ask(question, Some(&service::PORT_USUAL.to_string()), "--port", port)?
        }
    };
    let invite = match &args.invite {
        Some(name) => Some(name.clone()),
        None if known.friends => None,
        None => {
            let question = "3. Whom do you invite first? A name for the box, like ana, or - for nobody yet";
            questions.ask(question, Some("-"), "--invite", invited)?
        }
    };
    let url = match kept {
        // Whoever forwards another port to the service's said so at `init`.
        Some(url) if args.host.is_none() && args.port.is_none() => url.clone(),
        _ => address(&host, port)?,
    };
    if let Some(url) = kept.filter(|before| **before == url) {
        questions
            .say(&format!("Boxes find the service at {url}, as before (--host and --port change it)."))?;
    }
    if let Some(remark) = doubt(url.host()) {
        questions.say(&remark)?;
    }
    Ok(Plan { url, port, invite })
}

fn address(host: &str, port: u16) -> Result<CoordinatorUrl> {
    let text = if port == HTTPS { format!("https://{host}") } else { format!("https://{host}:{port}") };
    text.parse().with_context(|| format!("{text} can't stand in an invite"))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// As it stands in an address: small letters, and IPv6 in brackets.
fn host(text: &str) -> Result<String, String> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_prefix("https://").unwrap_or(&text).trim_end_matches('/');
    let host = match text.trim_matches(['[', ']']).parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) if text.contains(':') => {
            return Err(format!(
                "{text:?} has a port: type the name alone, since the port is another question"
            ));
        }
        Err(_) => text.to_owned(),
    };
    // A name of numbers alone would be taken for an address that is none.
    let numbers = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if numbers && host.parse::<Ipv4Addr>().is_err() {
        return Err(format!("{text:?} is no address: one has four numbers up to 255, like 203.0.113.7"));
    }
    match address(&host, HTTPS) {
        Ok(_) => Ok(host),
        Err(_) => Err(format!(
            "{text:?} is no name of a machine: one has letters, digits, dots and dashes, like mesh.example.org"
        )),
    }
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) | Err(_) => {
            Err(format!("{text:?} is no port: take a number from 1 to 65535, like 8443 or 443"))
        }
        Ok(port) => Ok(port),
    }
}

/// Refuses one that another program has, before anything is made.
fn free_port(port: u16, dir: &Path) -> Result<u16, String> {
    let own = file::read(&dir.join("listen")).ok().flatten();
    if own.is_some_and(|own| own.ends_with(&format!(":{port}"))) {
        return Ok(port);
    }
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(format!("port {port} is taken by another program on this machine: take another one"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(format!("port {port} may be opened by root alone: take one above 1023, or use sudo"))
        }
        // A machine without IPv6, or what `serve` will say better.
        Ok(_) | Err(_) => Ok(port),
    }
}

fn invited(text: &str) -> Result<Option<Name>, String> {
    if text == "-" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| format!("{text:?} can't be: {error}"))
}

/// The address that this machine sends from, if the world can reach it. Nothing is sent.
fn public_address() -> Option<String> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address for documentation (RFC 5737): what leads there leads out.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let IpAddr::V4(address) = socket.local_addr().ok()?.ip() else { return None };
    is_public(address).then(|| address.to_string())
}

fn is_public(address: Ipv4Addr) -> bool {
    // RFC 6598: a provider's own.
    let shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
    !(shared || address.is_private() || address.is_loopback() || address.is_link_local())
}

/// What may be meant, and often is not.
fn doubt(host: &str) -> Option<String> {
    let private = match host.parse() {
        Ok(IpAddr::V4(address)) => !is_public(address),
        Ok(IpAddr::V6(address)) => address.is_loopback() || address.is_unique_local(),
        Err(_) => host == "localhost" || host.ends_with(".local"),
    };
    if private {
        return Some(format!("Mind: {host} is reached from this machine's own network alone."));
    }
    let found = (host, HTTPS).to_socket_addrs().is_ok_and(|mut found| found.next().is_some());
    (!found).then(|| {
        format!("Mind: nothing is known yet of the name {host}. Boxes come in once it leads here (DNS).")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said<T: std::fmt::Debug>(result: Result<T, String>) -> String {
        match result {
            Ok(good) => format!("{good:?}"),
            Err(sentence) => sentence,
        }
    }

    #[test]
    fn answers_are_read_as_people_type_them() {
        let check = |text: &str, expected: &str| {
            let said = said(host(text));
            assert!(said.contains(expected), "{text}: {said}");
        };
        check("Mesh.Example.org", "\"mesh.example.org\"");
        check(" https://mesh.example.org/ ", "\"mesh.example.org\"");
        check("203.0.113.7", "\"203.0.113.7\"");
        check("2001:DB8::7", "\"[2001:db8::7]\"");
        check("[2001:db8::7]", "\"[2001:db8::7]\"");
        check("mesh.example.org:8443", "has a port");
        check("my mesh", "is no name of a machine");
        check("300.1.2.3", "is no address");
        check("", "is no");
        assert_eq!(said(port("443")), "443");
        assert!(said(port("65536")).contains("is no port"));
        assert!(said(port("0")).contains("is no port"));
        assert_eq!(said(invited("-")), "None");
        assert!(said(invited("Ana!")).contains("can't be"));
    }

    #[test]
    fn an_address_that_nobody_reaches_is_doubted() {
        assert!(
            doubt("192.168.1.5").is_some() && doubt("100.64.3.1").is_some() && doubt("fd00::1").is_some()
        );
        assert!(doubt("localhost").is_some() && doubt("box.local").is_some());
        assert_eq!(doubt("203.0.113.7"), None);
    }
}
