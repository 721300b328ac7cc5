//! The house's Wi-Fi, as wpa_supplicant reads it (wpa_supplicant.conf(5)).
//!
//! The country stands here and nowhere else: from here wpa_supplicant tells the kernel which channels are allowed.

use std::fmt::Write as _;

use super::wish::{Wifi, is_key};

/// A name of any letters can stand in it, since it is written in hexadecimal digits; a password has no line ends.
pub(super) fn conf(wifi: &Wifi) -> String {
    let Wifi { country, ssid, password } = wifi;
    // The first line is for the screen.
    let mut text =
        format!("# {ssid}\nctrl_interface=/run/wpa_supplicant\ncountry={country}\nnetwork={{\n\tssid=");
    for byte in ssid.bytes() {
        let _ = write!(text, "{byte:02x}");
    }
    // Also one that does not say its name.
    text.push_str("\n\tscan_ssid=1\n");
    match password {
        None => text.push_str("\tkey_mgmt=NONE\n"),
        // WPA3 takes the password itself: it can't be made of the key.
        Some(key) if is_key(key) => {
            let _ = writeln!(text, "\tkey_mgmt=WPA-PSK WPA-PSK-SHA256\n\tieee80211w=1\n\tpsk={key}");
        }
        // Up to the last quote of the line, whatever stands between.
        Some(password) => {
            let _ =
                writeln!(text, "\tkey_mgmt=WPA-PSK WPA-PSK-SHA256 SAE\n\tieee80211w=1\n\tpsk=\"{password}\"");
        }
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: Option<&str>, expected: &str) {
        let wifi = Wifi { country: "DE".into(), ssid: "a\"é".into(), password: password.map(str::to_owned) };
        let head = "# a\"é\nctrl_interface=/run/wpa_supplicant\ncountry=DE\nnetwork={\n\tssid=6122c3a9\n\tscan_ssid=1\n";
        assert_eq!(conf(&wifi), format!("{head}{expected}}}\n"));
    }

    #[test]
    fn each_kind_of_network_has_its_lines() {
        check(None, "\tkey_mgmt=NONE\n");
        check(
            Some("co\"rect horse"),
            "\tkey_mgmt=WPA-PSK WPA-PSK-SHA256 SAE\n\tieee80211w=1\n\tpsk=\"co\"rect horse\"\n",
        );
        let key = "0123456789abcdef".repeat(4);
        check(Some(&key), &format!("\tkey_mgmt=WPA-PSK WPA-PSK-SHA256\n\tieee80211w=1\n\tpsk={key}\n"));
    }
}
