//! The file `relaybox.toml` that a friend puts on the box's card: what may stand in it, and what is said of a mistake.
//!
//! Reads nothing from disk and changes nothing. A file counts as a whole or not at all.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use toml::Spanned;
use trust::Ticket;
use wire::Code;

/// No such file is longer: an invite has about 700 characters.
pub(super) const BYTES_MAX: usize = 64 << 10;

const FILE: &str = "relaybox.toml";

/// What a friend wants of the box, checked. What is not said stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    /// `NAME.local` on the home network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// The most that the box gives others, in kbit/s on the line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upload_kbps_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wifi: Option<Wifi>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wifi {
    /// Two letters (ISO 3166-1): which channels are allowed.
    pub(super) country: String,
    pub(super) ssid: String,
    /// None for an open network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) password: Option<String>,
}

/// What is kept apart, since it is handed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Secrets {
    pub(super) invite: Option<String>,
    pub(super) pin: Option<String>,
}

impl Wish {
    /// What the newer file says, over what was said before.
    pub(super) fn over(self, before: Wish) -> Wish {
        Wish {
            name: self.name.or(before.name),
            upload_kbps_max: self.upload_kbps_max.or(before.upload_kbps_max),
            wifi: self.wifi.or(before.wifi),
        }
    }
}

/// What is wrong with a file, for somebody who has never seen one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", Line(.line))]
pub(super) struct Mistake {
    /// What a person would look into.
    pub(super) file: &'static str,
    line: Option<usize>,
    what: String,
    pub(super) mend: String,
}

impl Mistake {
    pub(super) fn whole(what: impl Into<String>, mend: impl Into<String>) -> Mistake {
        Mistake { file: FILE, line: None, what: what.into(), mend: mend.into() }
    }

    pub(super) fn of_file(self, file: &'static str) -> Mistake {
        Mistake { file, ..self }
    }

    /// In what Raspberry Pi Imager wrote, which has no lines that a person knows.
    pub(super) fn of_imager(self) -> Mistake {
        let mend = format!(
            "{} What was wrong was set in Raspberry Pi Imager: put the same into a file relaybox.toml, or write the card once more.",
            self.mend
        );
        Mistake { file: "what Raspberry Pi Imager wrote", line: None, mend, ..self }
    }

    /// In one sentence or two, for a page on which nobody sees a file.
    pub(super) fn sentence(&self) -> String {
        format!("{}. {}", self.what, self.mend)
    }
}

/// Whether it is the key that WPA2 makes of name and password (IEEE 802.11 J.4), as programs write it.
pub(super) fn is_key(password: &str) -> bool {
    password.len() == 64 && password.bytes().all(|b| b.is_ascii_hexdigit())
}

struct Line<'a>(&'a Option<usize>);

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, "line {line}: "))
    }
}

/// As it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    invite: Option<Spanned<String>>,
    name: Option<Spanned<String>>,
    pin: Option<Spanned<String>>,
    upload_kbps_max: Option<Spanned<i64>>,
    wifi: Option<TypedWifi>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedWifi {
    country: Spanned<String>,
    ssid: Spanned<String>,
    password: Option<Spanned<String>>,
}

pub(super) fn read(bytes: &[u8]) -> Result<(Wish, Secrets), Mistake> {
    if bytes.len() > BYTES_MAX {
        return Err(Mistake::whole(
            "the file is larger than any such file",
            "Copy the file that you were given once more.",
        ));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(Mistake::whole(
            "the file is no plain text",
            "Save it as plain text; in Windows' editor choose \"UTF-8\" when you save.",
        ));
    };
    // As some editors begin a file.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let reader = Reader(text);
    let typed: Typed = toml::from_str(text).map_err(|error| reader.syntax(&error))?;
    let secrets = Secrets {
        invite: typed.invite.map(|invite| reader.invite(&invite)).transpose()?,
        pin: typed.pin.map(|pin| reader.pin(&pin)).transpose()?,
    };
    let wish = Wish {
        name: typed.name.map(|name| reader.name(&name)).transpose()?,
        upload_kbps_max: typed.upload_kbps_max.map(|kbps| reader.kbps(&kbps)).transpose()?,
        wifi: typed.wifi.map(|wifi| reader.wifi(&wifi)).transpose()?,
    };
    Ok((wish, secrets))
}

struct Reader<'a>(&'a str);

impl Reader<'_> {
    fn line(&self, span: Range<usize>) -> Option<usize> {
        let before = self.0.get(..span.start)?;
        Some(before.matches('\n').count() + 1)
    }

    fn mistake(&self, span: Range<usize>, what: impl Into<String>, mend: impl Into<String>) -> Mistake {
        Mistake { file: FILE, line: self.line(span), what: what.into(), mend: mend.into() }
    }

    fn syntax(&self, error: &toml::de::Error) -> Mistake {
        let line = error.span().and_then(|span| self.line(span));
        // Whoever sees the first line of several sees enough.
        let what = without_value(error.message().lines().next().unwrap_or_default());
        let mend = "Each line is NAME = \"VALUE\", with straight quotes around the value; numbers have none. What may \
                    stand there: invite, name, pin, upload_kbps_max, and [wifi] with country, ssid and password.";
        Mistake { file: FILE, line, what, mend: mend.to_owned() }
    }

    fn invite(&self, invite: &Spanned<String>) -> Result<String, Mistake> {
        match Ticket::parse(invite.as_ref()) {
            Ok(_) => Ok(invite.as_ref().split_whitespace().collect()),
            Err(error) => {
                let mend = Code::from(&error).what_to_do();
                Err(self.mistake(invite.span(), error.to_string(), mend))
            }
        }
    }

    fn name(&self, name: &Spanned<String>) -> Result<String, Mistake> {
        let text = name.as_ref();
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if plain && (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-') {
            return Ok(text.clone());
        }
        Err(self.mistake(
            name.span(),
            format!("{text:?} is no name for a box"),
            "Take 1 to 63 letters from a to z, digits and dashes, with no space and no dash at its ends.",
        ))
    }

    fn pin(&self, pin: &Spanned<String>) -> Result<String, Mistake> {
        let text = pin.as_ref();
        if (4..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(text.clone());
        }
        Err(self.mistake(
            pin.span(),
            "the PIN is none",
            "Take 4 to 12 digits, between quotes: pin = \"480213\".",
        ))
    }

    fn kbps(&self, kbps: &Spanned<i64>) -> Result<u64, Mistake> {
        match u64::try_from(*kbps.as_ref()) {
            Ok(number @ 0..=10_000_000) => Ok(number),
            _ => Err(self.mistake(
                kbps.span(),
                format!("{} kbit/s can't be", kbps.as_ref()),
                "Take 0 to 10000000; 3000 is 3 Mbit/s, and 0 gives nothing. Without the line the box finds out itself.",
            )),
        }
    }

    fn wifi(&self, wifi: &TypedWifi) -> Result<Wifi, Mistake> {
        let country = wifi.country.as_ref();
        if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
            let mend =
                "Take your country's two capital letters, as in a web address: \"DE\", \"FR\", \"US\".";
            return Err(self.mistake(wifi.country.span(), format!("{country:?} is no country"), mend));
        }
        let ssid = wifi.ssid.as_ref();
        if ssid.is_empty() || ssid.len() > 32 || ssid.chars().any(char::is_control) {
            let mend = "Copy the network's name as your phone shows it: 1 to 32 characters.";
            return Err(self.mistake(wifi.ssid.span(), "the Wi-Fi network's name can't be", mend));
        }
        // IEEE 802.11 J.4: what a password may consist of.
        let plain =
            |text: &str| (8..=63).contains(&text.len()) && text.bytes().all(|b| (32..=126).contains(&b));
        if let Some(password) = &wifi.password
            && !(plain(password.as_ref()) || is_key(password.as_ref()))
        {
            let mend = "Copy the password once more: it has 8 to 63 characters, without accents. For a network without one \
                        leave it out.";
            return Err(self.mistake(password.span(), "the Wi-Fi password can't be", mend));
        }
        let password = wifi.password.as_ref().map(|password| password.as_ref().clone());
        Ok(Wifi { country: country.clone(), ssid: ssid.clone(), password })
    }
}

/// A PIN or a password without its quotes is named by its kind alone: a mistake is shown to the whole house.
fn without_value(what: &str) -> String {
    let split = what.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected "));
    let Some((found, expected)) = split else { return what.to_owned() };
    // serde: the kind, then the value between backticks or quotes.
    let kind = found.split(['`', '"']).next().unwrap_or_default().trim_end();
    format!("invalid type: {kind}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let said = match read(text.as_bytes()) {
            Ok((wish, secrets)) => format!("{wish:?} {secrets:?}"),
            Err(mistake) => mistake.to_string(),
        };
        assert!(said.contains(expected), "{text}: {said}");
    }

    #[test]
    fn what_may_stand_there_is_read() {
        let text = "\u{feff}# ours\r\nname = \"attic\"\r\npin = \"0123\"\r\nupload_kbps_max = 3000\r\n[wifi]\r\ncountry = \"DE\"\r\n\
                    ssid = \"home\"\r\npassword = \"correct horse\"\r\n";
        let (wish, secrets) = read(text.as_bytes()).unwrap();
        assert_eq!(wish.name.as_deref(), Some("attic"));
        assert_eq!(wish.upload_kbps_max, Some(3000));
        let wifi = wish.wifi.unwrap();
        assert_eq!((wifi.country.as_str(), wifi.ssid.as_str()), ("DE", "home"));
        assert_eq!(secrets, Secrets { invite: None, pin: Some("0123".into()) });
        assert_eq!(read(b"").unwrap(), (Wish::default(), Secrets::default()));
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        check("name = \"a\"\nnmae = \"b\"", "line 2: unknown field `nmae`");
        check("name = \"a", "line 1: ");
        check("\nname = \u{201c}a\u{201d}", "line 2: ");
        check("pin = 1234", "line 1: invalid type: integer, expected a string");
        check("wifi = \"horse, expected `x`\"", "line 1: invalid type: string, expected struct TypedWifi");
        check("pin = \"12\"", "line 1: the PIN is none");
        check("name = \"my box\"", "line 1: \"my box\" is no name");
        check("\n\nupload_kbps_max = -1", "line 3: -1 kbit/s can't be");
        check("invite = \"hello\"", "line 1: this is not an invite: one begins with RELAYBOX");
        check("[wifi]\nssid = \"x\"", "missing field `country`");
        check("[wifi]\ncountry = \"de\"\nssid = \"x\"", "line 2: \"de\" is no country");
        check(
            "[wifi]\ncountry = \"DE\"\nssid = \"x\"\npassword = \"short\"",
            "line 4: the Wi-Fi password can't be",
        );
        let odd = "[wifi]\ncountry = \"DE\"\nssid = \"x\"\npassword = \"two\\nlines\"";
        check(odd, "line 4: the Wi-Fi password can't be");
        check(&odd.replace("two\\nlines", &"0f".repeat(32)), "password: Some(\"0f0f");
        check(&" ".repeat(BYTES_MAX + 1), "larger than any such file");
        assert_eq!(read(b"\xff\xfen\0").unwrap_err().to_string(), "the file is no plain text");
    }

    /// Between two lines a shorter file is as good as a longer one; anywhere else no half of a word counts.
    #[test]
    fn a_file_that_was_cut_off_says_no_half_of_anything() {
        let text = "pin = \"0123\"\nname = \"attic\"\n[wifi]\ncountry = \"DE\"\nssid = \"home\"\npassword = \"correct horse\"\n";
        let mut mistakes = 0;
        for cut in 0..text.len() {
            let Ok((wish, secrets)) = read(&text.as_bytes()[..cut]) else {
                mistakes += 1;
                continue;
            };
            assert!(secrets.pin.is_none_or(|pin| pin == "0123"), "{cut}");
            assert!(wish.name.is_none_or(|name| name == "attic"), "{cut}");
            let Some(wifi) = wish.wifi else { continue };
            assert_eq!((wifi.country.as_str(), wifi.ssid.as_str()), ("DE", "home"), "{cut}");
            assert!(wifi.password.is_none_or(|password| password == "correct horse"), "{cut}");
        }
        assert!(mistakes > text.len() / 2, "{mistakes} of {}", text.len());
        // A file of the right length that the computer never filled.
        check(&"\0".repeat(200), "line 1: ");
    }

    #[test]
    fn what_is_not_said_stays() {
        let before = read(b"name = \"a\"\nupload_kbps_max = 1").unwrap().0;
        let after = read(b"upload_kbps_max = 2").unwrap().0.over(before);
        assert_eq!((after.name.as_deref(), after.upload_kbps_max), (Some("a"), Some(2)));
    }
}
