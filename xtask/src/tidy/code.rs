//! Rust source without what is written in comments and strings, line for line, so that a rule about words sees code
//! alone.
//!
//! Knows just enough of Rust's lexical rules for that; it never fails, since the compiler judges the rest.

/// The same number of lines, with comments and the insides of literals blanked.
pub(super) fn only(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => quoted(rest),
            'r' | 'b' | 'c' if !continues_a_word(&out) => match raw_string(rest) {
                Some(length) => length,
                None => {
                    out.push(first);
                    rest = &rest[1..];
                    continue;
                }
            },
            '\'' => character(rest),
            _ => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
        };
        out.extend(rest[..length].chars().filter(|c| *c == '\n'));
        out.push(' ');
        rest = &rest[length..];
    }
    out
}

/// Lines of code, from 1, in which this word stands by itself.
pub(super) fn lines_with_word(code: &str, word: &str) -> Vec<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let has = |line: &str| line.split(|c| !is_part(c)).any(|found| found == word);
    code.lines().enumerate().filter(|(_, line)| has(line)).map(|(index, _)| index + 1).collect()
}

fn continues_a_word(before: &str) -> bool {
    before.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// Length of a block comment; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// Length of a string literal from its opening quote on.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of `r"..."`, `br#"..."#` and the like, if that is what it is.
fn raw_string(text: &str) -> Option<usize> {
    let start = text.strip_prefix(['b', 'c']).unwrap_or(text).strip_prefix('r')?;
    let hashes = start.len() - start.trim_start_matches('#').len();
    let body = start.trim_start_matches('#').strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let opening = text.len() - body.len();
    Some(body.find(&end).map_or(text.len(), |at| opening + at + end.len()))
}

/// Length of a character literal, or of the quote alone when it opens a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            let body = chars.nth(1).map_or(text.len(), |(at, _)| at);
            text[body..].find('\'').map_or(text.len(), |at| body + at + 1)
        }
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            Some(_) | None => 1,
        },
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &str) {
        let squeezed = only(source).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed, expected, "from {source:?}");
    }

    #[test]
    fn words_in_comments_and_literals_are_gone() {
        check("a // unsafe\nb", "a b");
        check("a /* x /* unsafe */ y */ b", "a b");
        check(r#"f("unsafe \" unsafe", x)"#, "f( , x)");
        check(r##"f(r#"unsafe " unsafe"#, br"unsafe", x)"##, "f( , , x)");
        check(r"m('\'', '\u{1F600}', '{', b'x')", "m( , , , b )");
    }

    #[test]
    fn lifetimes_and_names_stay() {
        check("fn f<'a>(x: &'a str, r: u8, bar: u8) {}", "fn f< a>(x: & a str, r: u8, bar: u8) {}");
    }

    #[test]
    fn lines_keep_their_numbers() {
        let source = "/* one\ntwo */\n\"three\nfour\"\nunsafe {}\nunsafe_code\n";
        assert_eq!(lines_with_word(&only(source), "unsafe"), [5]);
    }
}
