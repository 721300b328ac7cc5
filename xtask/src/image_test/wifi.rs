//! Wi-Fi in the guest, by radios that the kernel only plays (mac80211_hwsim, which Debian's kernel has): one is the box's,
//! the other one now a phone, now the house's router.
//!
//! Both are in one machine and in one network namespace, so that radio, keys, DHCP and names are tried, and no packet of
//! IP goes through the air: the kernel gives those to itself. It knows nothing of real radios and their firmware.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::guest::Guest;
use super::place::Place;
use super::renewal;
use super::trial::Trial;
use crate::image::Role;

/// Before the box believes that there is no cable, and that the house's network is gone.
const GONE_LIMIT: Duration = Duration::from_secs(240);
const RADIO_LIMIT: Duration = Duration::from_secs(180);
/// The other radio.
const OTHER: &str = "wlan1";
/// The house's router in its own network.
const ROUTER: &str = "10.9.0.1";
const SSID: &str = "our net";
const PASSWORD: &str = "correct horse";

pub(super) fn trial(trial: &Trial<'_>) -> Result<()> {
    let mut guest = trial.start("a start without an invite")?;
    let tried = Air { trial, guest: &mut guest }.all();
    if tried.is_err() {
        eprintln!(
            "{}",
            guest.sh("journalctl --no-pager --lines 40 --unit relaybox-wifi; cat /run/relaybox/wifi")?
        );
    }
    tried?;
    renewal::trial(trial, &mut guest)?;
    guest.kill();
    let place = Place::find(trial.card, Role::Card)?;
    let left = place.read("RELAYBOX-ERROR.txt");
    ensure!(left.is_err(), "what was mended still stands on the card: {left:?}");
    Ok(())
}

struct Air<'a> {
    trial: &'a Trial<'a>,
    guest: &'a mut Guest,
}

impl Air<'_> {
    fn all(&mut self) -> Result<()> {
        let cable = self.sh("basename /sys/class/net/e*")?.trim().to_owned();
        self.sh("modprobe mac80211_hwsim radios=2")?;
        // The test's own radio is nobody else's business.
        self.write(
            "/run/systemd/network/10-test.network",
            &format!("[Match]\nName={OTHER}\n[Link]\nUnmanaged=yes\n"),
        )?;
        self.sh("networkctl reload")?;
        self.until("with a cable the radio rests", RADIO_LIMIT, "grep '\"idle\"' /run/relaybox/wifi")?;
        self.sh(&format!("ip link set dev {cable} down"))?;
        self.portal()?;
        self.sh(&format!("ip link set dev {cable} up"))?;
        self.wrong_password()
    }

    /// Nothing is known, and there is no cable: a phone names the house's network.
    fn portal(&mut self) -> Result<()> {
        self.until(
            "the box makes a network of its own",
            GONE_LIMIT,
            "grep '\"hotspot\"' /run/relaybox/wifi",
        )?;
        self.write("/run/test-phone.conf", "network={\n\tssid=\"relaybox\"\n\tkey_mgmt=NONE\n}\n")?;
        self.sh("systemd-run --unit test-phone wpa_supplicant -i wlan1 -D nl80211 -c /run/test-phone.conf")?;
        self.write(
            "/run/systemd/network/10-test.network",
            &format!("[Match]\nName={OTHER}\n[Network]\nDHCP=ipv4\n"),
        )?;
        self.sh("networkctl reload")?;
        self.until(
            "the phone gets an address",
            RADIO_LIMIT,
            "ip -4 address show dev wlan1 | grep ' 10\\.42\\.0\\.'",
        )?;
        self.until(
            "every name leads to the box",
            RADIO_LIMIT,
            "resolvectl query --interface wlan1 --protocol dns -4 connectivitycheck.gstatic.com | grep 10.42.0.1",
        )?;
        let led = self.ask("GET", "/generate_204", "connectivitycheck.gstatic.com", "")?;
        ensure!(
            led.contains("302 Found") && led.contains("location: http://10.42.0.1/"),
            "the probe gets: {led}"
        );
        let view = self.ask("GET", "/api/v1/setup", "10.42.0.1", "")?;
        ensure!(view.contains("\"first\":true") && view.contains("\"hotspot\""), "the page is told: {view}");
        let named = self.name_house("de", PASSWORD)?;
        ensure!(named.contains("422") && named.contains("is no country"), "a wrong country gets: {named}");
        let named = self.name_house("DE", PASSWORD)?;
        ensure!(named.contains("202 Accepted"), "the right network gets: {named}");
        self.until("the box's own network ends", RADIO_LIMIT, "grep '\"trying\"' /run/relaybox/wifi")?;
        self.sh("systemctl stop test-phone")?;
        self.house()?;
        self.in_house()?;
        println!("{}: by a phone in the box's own Wi-Fi into the house's", self.trial.board.id);
        Ok(())
    }

    /// The other radio is the house's router from here on.
    fn house(&mut self) -> Result<()> {
        self.write(
            "/run/systemd/network/10-test.network",
            &format!("[Match]\nName={OTHER}\n[Network]\nAddress={ROUTER}/24\nDHCPServer=yes\nConfigureWithoutCarrier=yes\n"),
        )?;
        self.sh("networkctl reload")?;
        self.write(
            "/run/test-house.conf",
            &format!(
                "network={{\n\tssid=\"{SSID}\"\n\tmode=2\n\tfrequency=2412\n\tkey_mgmt=WPA-PSK\n\tproto=RSN\n\tpairwise=CCMP\n\
                 \tpsk=\"{PASSWORD}\"\n}}\n"
            ),
        )?;
        self.sh("systemd-run --unit test-house wpa_supplicant -i wlan1 -D nl80211 -c /run/test-house.conf")
            .map(drop)
    }

    fn in_house(&mut self) -> Result<()> {
        self.until(
            "the box is in the house's Wi-Fi",
            RADIO_LIMIT,
            "grep '\"connected\"' /run/relaybox/wifi",
        )?;
        self.until(
            "it has an address there",
            RADIO_LIMIT,
            "ip -4 address show dev wlan0 | grep ' 10\\.9\\.0\\.'",
        )
    }

    /// Said on the screen, the page and the card, and taken back when it was mended.
    fn wrong_password(&mut self) -> Result<()> {
        let named = self.name_house("DE", "wrong horse")?;
        ensure!(named.contains("202 Accepted"), "the wrong password gets: {named}");
        let words = format!("The Wi-Fi network {SSID} does not take the password");
        let file = "/run/relaybox/notices/wifi";
        self.until(
            "the box says that the password is wrong",
            RADIO_LIMIT,
            &format!("grep '{words}' {file}"),
        )?;
        // Its letters, row after row (vcs(4)).
        self.until("on its screen", RADIO_LIMIT, &format!("tr --delete '\\0' < /dev/vcs1 | grep '{words}'"))?;
        let list = self.ask("GET", "/live/index.json", "127.0.0.1", "")?;
        ensure!(list.contains(&words), "the page is told: {list}");
        self.until(
            "and on its card",
            RADIO_LIMIT,
            &on_card(&format!("grep '{words}' $card/RELAYBOX-ERROR.txt")),
        )?;
        let named = self.name_house("DE", PASSWORD)?;
        ensure!(named.contains("202 Accepted"), "the right password gets: {named}");
        self.in_house()?;
        self.until("what was mended is said no more", RADIO_LIMIT, &format!("test ! -e {file}"))?;
        let gone = on_card("test ! -e $card/RELAYBOX-ERROR.txt");
        self.until("neither on the card", RADIO_LIMIT, &gone)?;
        println!(
            "{}: a wrong password is said on screen, page and card, and taken back",
            self.trial.board.id
        );
        Ok(())
    }

    /// By the page's API, as a browser would.
    fn name_house(&mut self, country: &str, password: &str) -> Result<String> {
        let body = format!("{{\"country\":\"{country}\",\"ssid\":\"{SSID}\",\"password\":\"{password}\"}}");
        self.ask("PUT", "/api/v1/setup/wifi", "10.42.0.1", &body)
    }

    /// What comes back for a request, from inside of the guest.
    fn ask(&mut self, method: &str, path: &str, host: &str, body: &str) -> Result<String> {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\\r\\n" };
        let head = format!(
            "{method} {path} HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n{kind}Content-Length: {}\\r\\n\\r\\n",
            body.len()
        );
        let quoted = body.replace('\'', "'\\''");
        self.sh(&format!("exec 5<> /dev/tcp/127.0.0.1/80; printf '{head}' >&5; printf %s '{quoted}' >&5; timeout 20 cat <&5"))
    }

    fn until(&mut self, what: &str, limit: Duration, line: &str) -> Result<()> {
        let took = self.guest.wait(what, limit, self.trial.stop, |guest| guest.sh(line).map(drop))?;
        println!("{}: {what}: after {} s", self.trial.board.id, took.as_secs());
        Ok(())
    }

    fn write(&mut self, path: &str, text: &str) -> Result<()> {
        let text = data_encoding::BASE64.encode(text.as_bytes());
        self.sh(&format!("mkdir -p $(dirname {path}) && base64 --decode > {path} <<< {text}")).map(drop)
    }

    fn sh(&mut self, line: &str) -> Result<String> {
        self.guest.sh(line).context("setting the air up")
    }
}

/// The card is mounted for moments alone.
fn on_card(line: &str) -> String {
    format!(
        "card=/run/relaybox-card; mkdir -p $card; mount $card && {{ {line}; code=$?; umount $card; exit $code; }}"
    )
}
