//! `relayd card`: at each start of a box from an image, before the daemon. Takes what a friend wrote on the card
//! (`relaybox.toml`) over to the box's own disk and away from the card, and writes the settings that the daemon is
//! started with.
//!
//! A file with a mistake in it changes nothing: the mistake is written beside it. A power cut at any moment leaves the
//! file on the card or what it said on the disk. It asks nobody over the network: whether an invite can still be used
//! shows when the box joins.

mod imager;
mod lost;
pub(crate) mod orders;
mod reset;
mod wifi;
mod wish;

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Parser;
use toml::{Table, Value};

use crate::secrets;
use crate::settings::{DATA_DIR, Fragment, Settings};
use wish::{Mistake, Secrets, Wish};

/// As the friend calls it, and as an editor that hides endings saves it.
const NAMES: [&str; 2] = ["relaybox.toml", "relaybox.toml.txt"];
const ERROR: &str = "RELAYBOX-ERROR.txt";
/// How a box is called that nobody gave a name.
const NAME: &str = "relaybox";
/// The file is right, and the box's own disk is full.
const NO_ROOM: &str = "the box has no room left on its card to keep what it says";
const NO_ROOM_MEND: &str = "Leave the file here, write the image to a larger card and copy it there; or have the box forget \
     everything, by a file relaybox-reset.txt with the box's name in it, beside this one.";
/// Said when an order is carried out by starting the machine again.
const AGAIN: &str = "start again";

#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Where the card's partition is mounted; without it, it could not be.
    #[arg(long, value_name = "DIR")]
    card: Option<PathBuf>,
    /// What the box keeps of it, for root alone.
    #[arg(long, value_name = "DIR")]
    kept: PathBuf,
    /// The image's settings.
    #[arg(long, value_name = "FILE")]
    base: PathBuf,
    /// The daemon's settings, to be written.
    #[arg(long, value_name = "FILE")]
    settings: PathBuf,
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// Another place in which Raspberry Pi Imager may have written.
    #[arg(long, value_name = "DIR")]
    imager: Option<PathBuf>,
    /// The house's Wi-Fi for wpa_supplicant, to be written if there is one.
    #[arg(long, value_name = "FILE")]
    wifi: Option<PathBuf>,
    /// What the box keeps can't be used, for the reason in this file: nothing is taken over.
    #[arg(long, value_name = "FILE", conflicts_with = "orders")]
    lost: Option<PathBuf>,
    /// Take what the box's page ordered, while the box runs, and nothing else.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["card", "imager"])]
    orders: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    fs::create_dir_all(&args.kept).with_context(|| format!("making {}", args.kept.display()))?;
    let text = fs::read_to_string(&args.base).with_context(|| format!("reading {}", args.base.display()))?;
    let base: Table = toml::from_str(&text).with_context(|| format!("in {}", args.base.display()))?;
    let lost = args.lost.as_deref().map(lost::read).transpose()?;
    match (&args.orders, &lost) {
        (Some(orders), _) => {
            if orders::take(orders, &name(&base, &kept(&args.kept)?), args)? {
                println!("{AGAIN}");
                return Ok(());
            }
        }
        (None, Some(why)) => {
            if let Some(card) = &args.card {
                lost::at_start(card, &base, why)?;
            }
        }
        (None, None) => at_start(&base, args)?,
    }
    let wish = kept(&args.kept)?;
    write_wifi(wish.wifi.as_ref(), args)?;
    let settings = laid_over(base, &wish, lost);
    let settings = toml::to_string(&settings).context("writing settings")?;
    secrets::replace(&args.settings, settings.as_bytes(), 0o644)?;
    Settings::read(Some(&args.settings), Fragment::default()).map(drop)
}

/// Before anything else of the box runs: a reset that is due, and then what is on the card.
fn at_start(base: &Table, args: &Args) -> Result<()> {
    let mut mistakes = Vec::new();
    let mut is_due = reset::is_marked(&args.kept);
    if let Some(card) = args.card.as_deref().filter(|_| !is_due) {
        match reset::is_asked(card, &name(base, &kept(&args.kept)?))? {
            Ok(asked) => is_due = asked,
            Err(mistake) => mistakes.push(mistake),
        }
        if is_due {
            reset::mark(&args.kept)?;
        }
    }
    if is_due {
        reset::carry_out(args.card.as_deref(), &args.kept, &args.data_dir)?;
    }
    let mut taken = is_due;
    for dir in args.imager.iter().chain(&args.card) {
        match imager::read(dir)? {
            None => {}
            Some(Ok(found)) => {
                found.unused.iter().for_each(|sentence| eprintln!("{sentence}"));
                keep(found.wish, &Secrets::default(), args)?;
                imager::remove(dir)?;
                taken = true;
            }
            Some(Err(mistake)) => {
                // It is of no more use, and may hold a password.
                imager::remove(dir)?;
                mistakes.push(mistake);
            }
        }
    }
    let Some(card) = &args.card else { return Ok(()) };
    lost::take_back(card)?;
    match take_over(card, args)? {
        Ok(there) => taken |= there,
        Err(mistake) => mistakes.push(mistake),
    }
    answer(card, &mistakes, taken)
}

/// As it is now, whatever the card says.
fn name(base: &Table, kept: &Wish) -> String {
    let base = base.get("name").and_then(Value::as_str);
    kept.name.as_deref().or(base).unwrap_or(NAME).to_owned()
}

/// Only when it is another one: what reads it looks whether it changed.
fn write_wifi(wifi: Option<&wish::Wifi>, args: &Args) -> Result<()> {
    let Some(path) = &args.wifi else { return Ok(()) };
    let before = fs::read_to_string(path).ok();
    let conf = wifi.map(wifi::conf);
    match &conf {
        Some(conf) if before.as_ref() != Some(conf) => secrets::replace(path, conf.as_bytes(), 0o600),
        None if before.is_some() => {
            fs::remove_file(path).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// What the page asks for, as the file that a friend would put on the card. Judged here, so that the answer comes at once.
pub(crate) fn wifi_order(country: &str, ssid: &str, password: Option<&str>) -> Result<String, String> {
    let mut wifi = Table::new();
    for (key, value) in [("country", Some(country)), ("ssid", Some(ssid)), ("password", password)] {
        if let Some(value) = value {
            wifi.insert(key.to_owned(), Value::String(value.to_owned()));
        }
    }
    let text = Table::from_iter([("wifi".to_owned(), Value::Table(wifi))]).to_string();
    wish::read(text.as_bytes()).map(|_| text).map_err(|mistake| mistake.sentence())
}

/// A PIN that may be one, or what is wrong with it.
pub(crate) fn good_pin(pin: &str) -> Result<String, String> {
    let text = Table::from_iter([("pin".to_owned(), Value::String(pin.to_owned()))]).to_string();
    let (_, secrets) = wish::read(text.as_bytes()).map_err(|mistake| mistake.sentence())?;
    secrets.pin.ok_or_else(|| "the PIN is none".to_owned())
}

/// What was taken over before.
fn kept(dir: &Path) -> Result<Wish> {
    let path = dir.join(NAMES[0]);
    match fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).with_context(|| format!("in {}", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Wish::default()),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// True if there was a file.
fn take_over(card: &Path, args: &Args) -> Result<Result<bool, Mistake>> {
    let Some(path) = NAMES.into_iter().map(|name| card.join(name)).find(|path| path.is_file()) else {
        return Ok(Ok(false));
    };
    let mut bytes = Vec::new();
    let file = File::open(&path).with_context(|| format!("reading {}", path.display()))?;
    let most = wish::BYTES_MAX as u64 + 1;
    file.take(most).read_to_end(&mut bytes).with_context(|| format!("reading {}", path.display()))?;
    let (wish, secrets) = match wish::read(&bytes) {
        // As a computer leaves it whose drive was pulled out: the friend has to know that nothing came over.
        Ok((wish, secrets)) if wish == Wish::default() && secrets == Secrets::default() => {
            let mend =
                "Copy the file here once more, and have the computer eject the drive before you take it out.";
            return Ok(Err(Mistake::whole("nothing stands in it", mend)));
        }
        Ok(read) => read,
        Err(mistake) => return Ok(Err(mistake)),
    };
    match keep(wish, &secrets, args) {
        Err(error) if secrets::is_full(&error) => {
            eprintln!("{error:#}");
            return Ok(Err(Mistake::whole(NO_ROOM, NO_ROOM_MEND)));
        }
        kept => kept?,
    }
    erase(&path)?;
    Ok(Ok(true))
}

/// On the card, in place of what was said there before.
fn answer(card: &Path, mistakes: &[Mistake], taken: bool) -> Result<()> {
    let error = card.join(ERROR);
    if !mistakes.is_empty() {
        for mistake in mistakes {
            eprintln!("{}: {mistake}. {}", mistake.file, mistake.mend);
        }
        return write_error(&error, mistakes);
    }
    if !taken {
        return Ok(());
    }
    match fs::remove_file(&error) {
        Err(failed) if failed.kind() != ErrorKind::NotFound => {
            Err(failed).with_context(|| format!("removing {}", error.display()))
        }
        _ => Ok(()),
    }
}

/// On the box's own disk for good, before anything goes from the card.
fn keep(wish: Wish, secrets: &Secrets, args: &Args) -> Result<()> {
    let wish = wish.over(kept(&args.kept)?);
    let text = toml::to_string(&wish).context("writing down what was on the card")?;
    secrets::replace(&args.kept.join(NAMES[0]), text.as_bytes(), 0o600)?;
    if let Some(invite) = &secrets.invite {
        secrets::replace(&args.kept.join("invite"), invite.as_bytes(), 0o600)?;
    }
    if let Some(pin) = &secrets.pin {
        secrets::replace(&args.data_dir.join("pin"), format!("{pin}\n").as_bytes(), 0o600)?;
    }
    println!("taken over from the card: {}", said(&wish, secrets));
    Ok(())
}

/// Which things, and none of them.
fn said(wish: &Wish, secrets: &Secrets) -> String {
    let things = [
        ("an invite", secrets.invite.is_some()),
        ("a PIN", secrets.pin.is_some()),
        ("a name", wish.name.is_some()),
        ("a limit of the uplink", wish.upload_kbps_max.is_some()),
        ("Wi-Fi", wish.wifi.is_some()),
    ];
    let there: Vec<&str> =
        things.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect();
    if there.is_empty() { "nothing".to_owned() } else { there.join(", ") }
}

/// Overwrites the file before it goes. A card that spreads its writing may keep what was there all the same.
fn erase(path: &Path) -> Result<()> {
    let erase = || -> std::io::Result<()> {
        let mut file = File::options().write(true).open(path)?;
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(wish::BYTES_MAX).min(wish::BYTES_MAX);
        file.write_all(&vec![0; length])?;
        file.sync_all()?;
        fs::remove_file(path)
    };
    erase().with_context(|| format!("removing {}", path.display()))
}

/// With line ends that every editor knows. The same words are not written again: a card wears out.
fn write_error(path: &Path, mistakes: &[Mistake]) -> Result<()> {
    let mut text = String::new();
    for mistake in mistakes {
        let (file, mend) = (mistake.file, &mistake.mend);
        text.push_str(&format!(
            "The box could not use {file}, and changed nothing.\n\n{mistake}\n\nWhat to do: {mend}\n\n"
        ));
    }
    write_words(path, &[text])
}

/// These, and what to do after that.
fn write_words(path: &Path, words: &[String]) -> Result<()> {
    let text = words.concat() + "Then put the card back into the box. This file goes when all is well.\n";
    let text = text.replace('\n', "\r\n");
    if fs::read_to_string(path).is_ok_and(|before| before == text) {
        return Ok(());
    }
    let write = || -> std::io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// The image's settings with what the friend wants.
fn laid_over(mut base: Table, wish: &Wish, lost: Option<String>) -> Table {
    if let (Some(why), Some(Value::Table(image))) = (lost, base.get_mut("image")) {
        image.insert("lost".to_owned(), Value::String(why));
    }
    if let Some(name) = &wish.name {
        base.insert("name".to_owned(), Value::String(name.clone()));
    }
    if let Some(kbps) = wish.upload_kbps_max.and_then(|kbps| i64::try_from(kbps).ok()) {
        let relay = base.entry("relay").or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(relay) = relay {
            relay.insert("upload_kbps_max".to_owned(), Value::Integer(kbps));
        }
    }
    base
}

#[cfg(test)]
mod tests;
