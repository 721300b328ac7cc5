//! A question and its answer, on a terminal or from a file of lines. A bad answer is told in a sentence, and the
//! question comes again.
//!
//! Refuses to go on for ever: somebody who answers wrongly that often has no one at the keyboard.

use std::io::{BufRead, Write};

use anyhow::{Context as _, Result, bail};

/// Of one question.
const ANSWERS_MAX: usize = 10;
/// Nobody types more in one line.
const LINE_BYTES_MAX: u64 = 1 << 10;

pub(super) struct Questions<'a> {
    input: Box<dyn BufRead + 'a>,
    output: Box<dyn Write + 'a>,
    /// Nothing is asked.
    unattended: bool,
    /// Lines are not shown as they are typed.
    silent: bool,
}

impl<'a> Questions<'a> {
    pub(super) fn new(
        input: impl BufRead + 'a,
        output: impl Write + 'a,
        unattended: bool,
        silent: bool,
    ) -> Questions<'a> {
        Questions { input: Box::new(input), output: Box::new(output), unattended, silent }
    }

    pub(super) fn say(&mut self, sentence: &str) -> Result<()> {
        writeln!(self.output, "{sentence}").context("writing to the terminal")
    }

    /// `usual` is what an empty answer means; `option` is what says it on the command line.
    pub(super) fn ask<T>(
        &mut self,
        question: &str,
        usual: Option<&str>,
        option: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T> {
        if self.unattended {
            let Some(usual) = usual else {
                bail!("with --yes nothing is asked, and here nothing is usual: say {option}")
            };
            return read(usual).map_err(|sentence| anyhow::anyhow!("{sentence} ({option})"));
        }
        for _ in 0..ANSWERS_MAX {
            let shown = usual.map(|usual| format!(" [{usual}]")).unwrap_or_default();
            write!(self.output, "{question}{shown}: ").context("writing to the terminal")?;
            self.output.flush().context("writing to the terminal")?;
            let Some(line) = self.line()? else {
                bail!("the answers ended before this question: say {option}, or --yes for what is usual")
            };
            let answer = match (line.trim(), usual) {
                ("", Some(usual)) => usual,
                (answer, _) => answer,
            };
            if self.silent {
                self.say(answer)?;
            }
            match read(answer) {
                Ok(good) => return Ok(good),
                Err(sentence) => self.say(&format!("   {sentence}."))?,
            }
        }
        bail!(
            "{ANSWERS_MAX} answers could not be used: nothing was changed. On the command line it is {option}"
        )
    }

    fn line(&mut self) -> Result<Option<String>> {
        let mut bytes = Vec::new();
        let mut most = std::io::Read::take(&mut self.input, LINE_BYTES_MAX);
        let length = most.read_until(b'\n', &mut bytes).context("reading the answer")?;
        Ok((length > 0).then(|| String::from_utf8_lossy(&bytes).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str, usual: Option<&str>, unattended: bool, expected: &str) {
        let mut shown = Vec::new();
        let mut questions = Questions::new(typed.as_bytes(), &mut shown, unattended, false);
        let read = |text: &str| text.parse::<u8>().map_err(|_| format!("{text:?} is no number"));
        let said = match questions.ask("How many?", usual, "--many", read) {
            Ok(number) => number.to_string(),
            Err(error) => format!("{error:#}"),
        };
        drop(questions);
        let said = format!("{}{said}", String::from_utf8(shown).unwrap());
        assert!(said.contains(expected), "{typed:?}: {said}");
    }

    #[test]
    fn a_bad_answer_is_asked_again() {
        check("7\n", None, false, "How many?: 7");
        check("\n", Some("3"), false, "How many? [3]: 3");
        check("many\n5\n", None, false, "How many?:    \"many\" is no number.\nHow many?: 5");
        check("\nx\n9", None, false, "9");
    }

    #[test]
    fn nobody_is_asked_for_ever() {
        check("", None, false, "the answers ended before this question: say --many");
        check(&"x\n".repeat(11), None, false, "10 answers could not be used");
        check("", Some("3"), true, "3");
        check("", None, true, "say --many");
        check(&"1".repeat(5000), None, false, "is no number");
    }
}
