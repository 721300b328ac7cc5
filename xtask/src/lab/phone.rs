//! A phone or laptop with the ordinary WireGuard app: wireguard-go, set up from a configuration as the app would.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use data_encoding::{BASE64, HEXLOWER};

use super::netns::Namespace;
use crate::child::Child;
use crate::stop::Stop;

/// The program; or the one of that name on PATH.
const PROGRAM: &str = "RELAYBOX_WIREGUARD_GO";
/// How long the program may take until it listens for its settings.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long a server may take for anything; what a filter drops is silent for so long.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(2);

/// A running app. It ends when this is dropped, and its interface with it.
#[derive(Debug)]
pub(crate) struct Phone<'a> {
    host: &'a Namespace,
    _app: Child,
    /// The addresses of its gateway, one of each family.
    pub(crate) gateways: Vec<IpAddr>,
}

impl<'a> Phone<'a> {
    pub(crate) fn start(host: &'a Namespace, conf: &str, dir: &Path, stop: &Stop) -> Result<Phone<'a>> {
        // Its control socket is the machine's, not the namespace's: the name tells processes apart.
        let name = format!("ph{}", std::process::id());
        let mut command = host.tool(&program().to_string_lossy());
        command.args(["-f", &name]);
        let mut app = Child::start("wireguard-go", &command, &dir.join("wireguard-go.log"))?;
        let path = format!("/var/run/wireguard/{name}.sock");
        let is_up = || app.ended().is_some() || UnixStream::connect(&path).is_ok();
        stop.wait_until(START_LIMIT, is_up);
        let Ok(mut control) = UnixStream::connect(&path) else { return Err(app.failure()) };
        control.write_all(spoken(conf)?.as_bytes()).context("telling wireguard-go its settings")?;
        let mut answer = [0; 64];
        let len = control.read(&mut answer).context("asking wireguard-go")?;
        let answer = String::from_utf8_lossy(&answer[..len]);
        ensure!(answer.trim() == "errno=0", "wireguard-go refuses its settings: {}", answer.trim());
        let mut lines = format!("link set dev {name} mtu 1280 up\n");
        for address in values(conf, "Address") {
            lines += &format!("address add {address} dev {name}\n");
        }
        let mut gateways = Vec::new();
        for prefix in values(conf, "AllowedIPs") {
            lines += &format!("route add {prefix} dev {name}\n");
            let ip = prefix.split_once('/').map_or(prefix, |(ip, _)| ip);
            gateways.push(ip.parse().with_context(|| format!("odd address {ip}"))?);
        }
        host.ip(&lines)?;
        Ok(Phone { host, _app: app, gateways })
    }

    /// The status with which a server at the gateway answers; an error when it does not.
    pub(crate) fn status(&self, gateway: IpAddr, port: u16) -> Result<u16> {
        let at = SocketAddr::new(gateway, port);
        self.host.inside(|| {
            let mut stream = TcpStream::connect_timeout(&at, ATTEMPT_LIMIT).context("connecting")?;
            stream.set_read_timeout(Some(ATTEMPT_LIMIT)).context("a limit")?;
            let request = format!("GET / HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).context("asking")?;
            let mut answer = Vec::new();
            // What comes after the head is of no interest, nor how it ends.
            let _ = stream.take(4096).read_to_end(&mut answer);
            let answer = String::from_utf8_lossy(&answer);
            let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
            status.with_context(|| format!("no HTTP: {:?}", answer.lines().next()))
        })
    }

    /// Whether anything takes a connection there.
    pub(crate) fn is_open(&self, gateway: IpAddr, port: u16) -> bool {
        let at = SocketAddr::new(gateway, port);
        self.host.inside(|| TcpStream::connect_timeout(&at, ATTEMPT_LIMIT).context("connecting")).is_ok()
    }
}

fn program() -> PathBuf {
    std::env::var_os(PROGRAM).map_or_else(|| "wireguard-go".into(), PathBuf::from)
}

/// The values of a key of a wg-quick file.
fn values<'a>(conf: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    let fields = conf.lines().filter_map(|line| line.split_once('='));
    let found: Vec<_> = fields.filter(|(name, _)| name.trim() == key).map(|(_, value)| value).collect();
    found.into_iter().flat_map(|value| value.split(',').map(str::trim))
}

/// The file as wireguard-go's control socket takes it: lines of `key=value`, keys in hexadecimal.
fn spoken(conf: &str) -> Result<String> {
    let mut text = "set=1\n".to_owned();
    for (name, word) in [
        ("PrivateKey", "private_key"),
        ("PublicKey", "public_key"),
        ("Endpoint", "endpoint"),
        ("PersistentKeepalive", "persistent_keepalive_interval"),
        ("AllowedIPs", "allowed_ip"),
    ] {
        for value in values(conf, name) {
            let value = match name {
                "PrivateKey" | "PublicKey" => match BASE64.decode(value.as_bytes()) {
                    Ok(key) => HEXLOWER.encode(&key),
                    Err(error) => bail!("odd {name}: {error}"),
                },
                _ => value.to_owned(),
            };
            text += &format!("{word}={value}\n");
        }
    }
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_told_in_the_programs_words() {
        let conf = "[Interface]\nPrivateKey = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=\nAddress = 10.1.2.3/32, fd00::1/128\n\n\
            [Peer]\nPublicKey = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAI=\nEndpoint = 192.0.2.1:7466\n\
            AllowedIPs = 10.1.2.1/32, fd00::2/128\nPersistentKeepalive = 25\n";
        let zeros = "0".repeat(62);
        let expected = format!(
            "set=1\nprivate_key={zeros}01\npublic_key={zeros}02\nendpoint=192.0.2.1:7466\n\
             persistent_keepalive_interval=25\nallowed_ip=10.1.2.1/32\nallowed_ip=fd00::2/128\n\n"
        );
        assert_eq!(spoken(conf).unwrap(), expected);
        assert_eq!(values(conf, "Address").collect::<Vec<_>>(), ["10.1.2.3/32", "fd00::1/128"]);
    }
}
