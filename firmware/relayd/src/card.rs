//! `relayd card`: at each start of a box from an image, before the daemon. Takes what a friend wrote on the card
//! (`relaybox.toml`) over to the box's own disk and away from the card, and writes the settings that the daemon is
//! started with.
//!
//! A file with a mistake in it changes nothing: the mistake is written beside it. A power cut at any moment leaves the
//! file on the card or what it said on the disk. It asks nobody over the network: whether an invite can still be used
//! shows when the box joins.

mod wish;

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, chown};
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
}

pub(crate) fn run(args: &Args) -> Result<()> {
    fs::create_dir_all(&args.kept).with_context(|| format!("making {}", args.kept.display()))?;
    if let Some(card) = &args.card {
        take_over(card, args)?;
    }
    let text = fs::read_to_string(&args.base).with_context(|| format!("reading {}", args.base.display()))?;
    let base: Table = toml::from_str(&text).with_context(|| format!("in {}", args.base.display()))?;
    let settings = toml::to_string(&laid_over(base, &kept(&args.kept)?)).context("writing settings")?;
    secrets::replace(&args.settings, settings.as_bytes(), 0o644)?;
    Settings::read(Some(&args.settings), Fragment::default()).map(drop)
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

fn take_over(card: &Path, args: &Args) -> Result<()> {
    let Some(path) = NAMES.into_iter().map(|name| card.join(name)).find(|path| path.is_file()) else {
        return Ok(());
    };
    let mut bytes = Vec::new();
    let file = File::open(&path).with_context(|| format!("reading {}", path.display()))?;
    let most = wish::BYTES_MAX as u64 + 1;
    file.take(most).read_to_end(&mut bytes).with_context(|| format!("reading {}", path.display()))?;
    let error = card.join(ERROR);
    let (wish, secrets) = match wish::read(&bytes) {
        Ok(read) => read,
        Err(mistake) => {
            eprintln!("relaybox.toml: {mistake}. {}", mistake.mend);
            return write_error(&error, &mistake);
        }
    };
    keep(wish, &secrets, args)?;
    erase(&path)?;
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
        let path = args.data_dir.join("pin");
        secrets::replace(&path, format!("{pin}\n").as_bytes(), 0o600)?;
        let meta = fs::metadata(&args.data_dir);
        let meta = meta.with_context(|| format!("looking at {}", args.data_dir.display()))?;
        chown(&path, Some(meta.uid()), Some(meta.gid())).context("giving the PIN to the daemon")?;
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
fn write_error(path: &Path, mistake: &Mistake) -> Result<()> {
    let text = format!(
        "The box could not use relaybox.toml, and changed nothing.\n\n{mistake}\n\nWhat to do: {}\n\n\
         Then put the card back into the box. This file goes when all is well.\n",
        mistake.mend
    );
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
fn laid_over(mut base: Table, wish: &Wish) -> Table {
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
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Bench(PathBuf);

    impl Bench {
        fn new(name: &str) -> Bench {
            let dir = std::env::temp_dir().join(format!("relayd-card-{name}-{}", std::process::id()));
            for folder in ["card", "kept", "data"] {
                fs::create_dir_all(dir.join(folder)).unwrap();
            }
            fs::write(dir.join("base.toml"), "standalone = true\n[relay]\nguard_line = true\n").unwrap();
            Bench(dir)
        }

        fn start(&self) {
            let at = |name: &str| self.0.join(name);
            run(&Args {
                card: Some(at("card")),
                kept: at("kept"),
                base: at("base.toml"),
                settings: at("relayd.toml"),
                data_dir: at("data"),
            })
            .unwrap();
        }

        fn put(&self, name: &str, text: &str) {
            fs::write(self.0.join("card").join(name), text).unwrap();
        }

        fn read(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.0.join(name)).ok()
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn what_is_on_the_card_moves_to_the_box() {
        let bench = Bench::new("moves");
        bench.put("relaybox.toml", "name = \"attic\"\npin = \"4711\"\nupload_kbps_max = 3000\n");
        bench.start();
        assert_eq!(bench.read("card/relaybox.toml"), None);
        assert_eq!(bench.read("data/pin").as_deref(), Some("4711\n"));
        let mode = fs::metadata(bench.0.join("kept/relaybox.toml")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let settings = bench.read("relayd.toml").unwrap();
        assert!(
            settings.contains("name = \"attic\"") && settings.contains("upload_kbps_max = 3000"),
            "{settings}"
        );
        assert!(settings.contains("guard_line = true"), "{settings}");

        // The next start, with nothing on the card, and a later wish.
        bench.start();
        assert_eq!(bench.read("relayd.toml").as_deref(), Some(settings.as_str()));
        bench.put("relaybox.toml.txt", "name = \"cellar\"\n");
        bench.start();
        let settings = bench.read("relayd.toml").unwrap();
        assert!(
            settings.contains("name = \"cellar\"") && settings.contains("upload_kbps_max = 3000"),
            "{settings}"
        );
    }

    #[test]
    fn a_mistake_is_written_beside_the_file_and_changes_nothing() {
        let bench = Bench::new("mistake");
        bench.put("relaybox.toml", "pin = \"4711\"\nname = \"my box\"\n");
        bench.start();
        let error = bench.read("card/RELAYBOX-ERROR.txt").unwrap();
        assert!(error.contains("line 2: \"my box\" is no name for a box\r\n"), "{error}");
        assert!(error.contains("What to do: Take 1 to 63 letters"), "{error}");
        assert!(bench.read("card/relaybox.toml").is_some() && bench.read("data/pin").is_none());
        bench.put("relaybox.toml", "name = \"my-box\"\n");
        bench.start();
        assert_eq!(bench.read("card/RELAYBOX-ERROR.txt"), None);
    }
}
