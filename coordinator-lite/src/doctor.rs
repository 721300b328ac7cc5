//! `doctor`: looks at what tends to be wrong, and says for each thing what to do. Changes nothing. Ends with status 0
//! only when all is well.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use sha2::{Digest as _, Sha256};
use trust::Revocations;
use trust::ticket::{CoordinatorUrl, TlsPin};
use wire::relay::PROTOCOL;
use wire::stun::Transaction;
use wire::{Code, path};

use crate::service::{self, Service};
use crate::store::{Database, FILE, SCHEMA_LATEST};
use crate::{clock, file, span};

const DISK_FREE_MIN: u64 = 256 << 20;
const CERTIFICATE_LEFT_MIN: Duration = Duration::from_secs(60 * 86_400);
const TIMEOUT: Duration = Duration::from_secs(5);
const STUN_TIMEOUT: Duration = Duration::from_millis(700);
const STUN_TRIES: u32 = 4;
/// What is read of an answer.
const ANSWER_BYTES_MAX: u64 = 8 << 10;

#[derive(Debug, Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    data: crate::DataDir,
}

/// What was found, as it is shown.
#[derive(Debug, Default)]
struct Findings {
    bad: usize,
}

impl Findings {
    fn say(&mut self, what: &str, found: Result<String>) {
        match found {
            Ok(found) => println!("ok    {what}: {found}"),
            Err(error) => {
                self.bad += 1;
                println!("BAD   {what}: {error:#}");
                if let Some(store) = error.downcast_ref::<crate::store::StoreError>() {
                    println!("      {}", store.code().what_to_do());
                }
            }
        }
    }
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    Ok(if look(&args.data.data_dir) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// True when all is well.
pub(crate) fn look(dir: &std::path::Path) -> bool {
    let mut findings = Findings::default();
    let now = clock::now();
    let clock = || {
        ensure!(now >= clock::EARLIEST, "it says {now}: set it, since boxes take the time from here");
        Ok(now.to_string())
    };
    findings.say("clock", clock());
    findings.say("mesh and keys", keys(dir));
    findings.say("certificate", certificate(dir));
    findings.say("database", database(dir));
    findings.say("disk", disk(dir));
    findings.say("reachable", reachable(dir));
    findings.say("relay", relay(dir));
    findings.say("STUN", stun(dir));
    println!();
    match findings.bad {
        0 => println!("All is well."),
        bad => println!("{bad} to mend."),
    }
    findings.bad == 0
}

fn keys(dir: &std::path::Path) -> Result<String> {
    let service = Service::open(dir)?;
    service.token()?;
    ensure!(
        !dir.join("root.key").exists(),
        "the root's key lies in the service's directory: move it to the operator's own, since a thief of the service \
         could make boxes with it"
    );
    Ok(format!("mesh {}, root {}", service.mesh.id(), service.mesh.root.fingerprint()))
}

fn certificate(dir: &std::path::Path) -> Result<String> {
    let (service, now) = (Service::open(dir)?, clock::now());
    let revocations = match Database::open_existing(&dir.join(FILE), now) {
        Ok(database) => database.revocations(&service.mesh.root)?,
        Err(_) => Revocations::new(),
    };
    let coordinator = service.mesh.coordinator(now, &revocations)?;
    let ends = coordinator.certificate().not_after;
    let left = ends.since(now);
    ensure!(
        left >= CERTIFICATE_LEFT_MIN,
        "it ends in {}, at {ends}: the operator runs `coordinator-lite certify`, and restarts the service",
        span::words(left)
    );
    Ok(format!("until {ends}"))
}

fn database(dir: &std::path::Path) -> Result<String> {
    let path = dir.join(FILE);
    let database = Database::open_existing(&path, clock::now())?;
    let boxes = database.boxes()?.len();
    Ok(format!(
        "{} is whole, schema {} of {SCHEMA_LATEST}, boxes: {boxes}",
        path.display(),
        database.schema()?
    ))
}

fn disk(dir: &std::path::Path) -> Result<String> {
    let free = file::free_bytes(dir)?;
    let mib = free >> 20;
    ensure!(free >= DISK_FREE_MIN, "{mib} MiB are free: make room, 256 MiB at least");
    Ok(format!("{mib} MiB free"))
}

/// As a box would come: the own address, the pinned key, an answer.
fn reachable(dir: &std::path::Path) -> Result<String> {
    let url = url(dir)?;
    let nonce = data_encoding::BASE64URL_NOPAD.encode(&clock::random::<32>()?);
    let body = format!("{{\"nonce\":\"{nonce}\"}}");
    let answer = ask(&url, &service::pin(dir)?, &format!("POST {}", path::TIME), "", &body);
    let answer = answer.with_context(|| {
        format!("{url} does not answer as boxes expect it: is the service running, and does the address lead here?")
    })?;
    let status = answer.lines().next().unwrap_or_default();
    ensure!(status.contains(" 200 ") || status.contains(" 429 "), "{url} answers {status}");
    Ok(url.to_string())
}

/// A line of the relay is for members alone: that is what a stranger has to hear there.
fn relay(dir: &std::path::Path) -> Result<String> {
    let url = url(dir)?;
    let fields = format!("Connection: Upgrade\r\nUpgrade: {PROTOCOL}\r\n");
    let answer = ask(&url, &service::pin(dir)?, &format!("GET {}", path::RELAY), &fields, "");
    let answer = answer.with_context(|| format!("{url} relays nothing: see what is said of reachable"))?;
    let status = answer.lines().next().unwrap_or_default();
    let forged = Code::RequestForged;
    let refuses = status.contains(&format!(" {} ", forged.status())) && answer.contains(forged.name());
    ensure!(
        refuses,
        "{url}{} answers {status}: an older service runs there, or something else in front of it",
        path::RELAY
    );
    Ok("takes members, and nobody else".to_owned())
}

/// As a box would ask, at the address in the invites, from a socket of its own.
fn stun(dir: &std::path::Path) -> Result<String> {
    let url = url(dir)?;
    let ports = service::stun_ports(dir)?.context("the service has not run yet: coordinator-lite serve")?;
    ensure!(!ports.is_empty(), "none is open (--stun): boxes behind routers find fewer direct paths");
    let (_, host, _) = parts(&url)?;
    for port in &ports {
        let asked = resolve(host, *port).and_then(see);
        asked.with_context(|| {
            format!("UDP {port} at {host} does not answer: open it in the firewall, and where the machine is hosted")
        })?;
    }
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    Ok(format!("UDP {} at {host}", ports.join(" and ")))
}

/// Datagrams get lost, so it is asked more than once.
fn see(at: SocketAddr) -> Result<()> {
    let any: IpAddr = if at.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).context("opening a socket")?;
    socket.set_read_timeout(Some(STUN_TIMEOUT))?;
    let transaction = Transaction(clock::random()?);
    let mut told = Err(anyhow::anyhow!("no answer"));
    for _ in 0..STUN_TRIES {
        if let Err(error) = socket.send_to(&wire::stun::request(transaction), at) {
            told = Err(error).context("asking");
            continue;
        }
        let mut answer = [0; 1500];
        match socket.recv_from(&mut answer) {
            Ok((length, from)) if from == at => match wire::stun::read_answer(&answer[..length]) {
                Some((to, _)) if to == transaction => return Ok(()),
                Some(_) | None => told = Err(anyhow::anyhow!("something else answers")),
            },
            Ok((_, from)) => told = Err(anyhow::anyhow!("{from} answers in its place")),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => told = Err(error).context("waiting for the answer"),
        }
    }
    told
}

fn url(dir: &std::path::Path) -> Result<CoordinatorUrl> {
    service::url(dir)?.context("the service has not run yet: coordinator-lite serve")
}

/// Authority, host without brackets, and port.
fn parts(url: &CoordinatorUrl) -> Result<(&str, &str, u16)> {
    let authority = url.as_str().trim_start_matches("https://");
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, port.parse()?),
        Some(_) | None => (authority, 443_u16),
    };
    Ok((authority, host.trim_matches(['[', ']']), port))
}

fn resolve(host: &str, port: u16) -> Result<SocketAddr> {
    let address = (host, port).to_socket_addrs().context("looking up its name")?.next();
    address.context("its name has no address")
}

/// One request over the pinned key, and the beginning of the answer.
fn ask(url: &CoordinatorUrl, pin: &TlsPin, line: &str, fields: &str, body: &str) -> Result<String> {
    let (authority, bare, port) = parts(url)?;
    let name = ServerName::try_from(bare.to_owned()).context("its name")?;
    ask_at(resolve(bare, port)?, name, authority, pin, line, fields, body)
}

/// Whether the service on this machine answers, as far as a stranger is concerned, over the pinned key.
pub(crate) fn answers(at: SocketAddr, pin: &TlsPin) -> Result<()> {
    let (name, authority) = (ServerName::from(at.ip()), at.to_string());
    let answer = ask_at(at, name, &authority, pin, "GET /api/v1/openapi.json", "", "")?;
    ensure!(answer.starts_with("HTTP/1.1 "), "what answers is no HTTP");
    Ok(())
}

fn ask_at(
    address: SocketAddr,
    name: ServerName<'static>,
    authority: &str,
    pin: &TlsPin,
    line: &str,
    fields: &str,
    body: &str,
) -> Result<String> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT).context("connecting")?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Pinned { pin: *pin, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), name)?;
    let mut stream = StreamOwned::new(connection, stream);
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).context("asking")?;
    let mut answer = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer) {
        Ok(_) => {}
        // The other side may go without a word once all is said.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof && !answer.is_empty() => {}
        Err(error) => return Err(error).context("reading the answer"),
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Takes the one key that the invites name, whatever the certificate says.
#[derive(Debug)]
struct Pinned {
    pin: TlsPin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let found: [u8; 32] = Sha256::digest(parsed.subject_public_key_info()).into();
        if found == self.pin.0 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("another TLS key than the service's answers there".to_owned()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
