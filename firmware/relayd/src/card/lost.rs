//! A start at which what the box keeps can't be used: its partition is damaged beyond repair, missing, or holds something
//! else. The card says so. What a friend wrote there is left alone, since nothing of it would be kept and an invite would be
//! used up; but for the one word that helps, that everything be made new, which is for the caller to carry out.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{ERROR, name, reset, write_words};
use crate::card::wish::Wish;

/// How each sentence of this kind begins.
const MARK: &str = "What the box keeps can't be used";
/// Said for the caller.
const ANEW: &str = "make new";

/// The sentence, from the file in which `image`'s own part left it.
pub(super) fn read(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// On the card; says whether its friend wants everything made new.
pub(super) fn at_start(card: &Path, base: &toml::Table, why: &str) -> Result<()> {
    // By the name of a box that knows none of its own.
    let asked = reset::is_asked(card, &name(base, &Wish::default()))?;
    let mut words = vec![format!("{why}\n\n")];
    match asked {
        Ok(true) => println!("{ANEW}"),
        Ok(false) => {}
        Err(mistake) => {
            eprintln!("{}: {mistake}. {}", mistake.file, mistake.mend);
            words.push(format!("{}: {mistake}\n\nWhat to do: {}\n\n", mistake.file, mistake.mend));
        }
    }
    write_words(&card.join(ERROR), &words)
}

/// The card's word on a start like that, when one came that is not.
pub(super) fn take_back(card: &Path) -> Result<()> {
    let error = card.join(ERROR);
    if !fs::read_to_string(&error).is_ok_and(|text| text.starts_with(MARK)) {
        return Ok(());
    }
    match fs::remove_file(&error) {
        Err(failed) if failed.kind() != ErrorKind::NotFound => {
            Err(failed).with_context(|| format!("removing {}", error.display()))
        }
        _ => Ok(()),
    }
}
