//! Attribute lists (RFC 8216bis 4.2).

use std::collections::BTreeMap;

use crate::lint::m3u8::Breach;
use crate::lint::rule::Rule;

/// The attributes of one tag. Asking for a value checks its form; what is wrong is collected.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    tag: &'a str,
    line: usize,
    values: BTreeMap<&'a str, Value<'a>>,
}

#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Quoted(&'a str),
    Bare(&'a str),
}

impl<'a> Attributes<'a> {
    pub(super) fn parse(tag: &'a str, line: usize, text: &'a str, breaches: &mut Vec<Breach>) -> Self {
        let mut values = BTreeMap::new();
        let mut bad = |what: String| {
            breaches.push(Breach::new(Rule::Syntax, format!("line {line}, {tag}: {what} (4.2)")));
        };
        let mut rest = text;
        while !rest.is_empty() {
            let Some((name, after)) = rest.split_once('=') else {
                bad(format!("{rest:?} is no attribute"));
                break;
            };
            if name.is_empty() || !name.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'0'..=b'9' | b'-')) {
                bad(format!("{name:?} is no attribute name"));
            }
            let (value, after) = if let Some(quoted) = after.strip_prefix('"') {
                let Some((value, after)) = quoted.split_once('"') else {
                    bad(format!("{name} has no closing quote"));
                    break;
                };
                if !after.is_empty() && !after.starts_with(',') {
                    bad(format!("something follows the quoted {name}"));
                }
                (Value::Quoted(value), after.split_once(',').map_or("", |(_, after)| after))
            } else {
                let (value, after) = after.split_once(',').unwrap_or((after, ""));
                if value.is_empty() || value.contains([' ', '"']) {
                    bad(format!("{name} has no value, or blanks in it"));
                }
                (Value::Bare(value), after)
            };
            if values.insert(name, value).is_some() {
                bad(format!("{name} is given twice"));
            }
            rest = after;
        }
        Self { tag, line, values }
    }

    fn wrong(&self, name: &str, what: &str, breaches: &mut Vec<Breach>) {
        let Self { tag, line, .. } = self;
        breaches.push(Breach::new(Rule::Syntax, format!("line {line}, {tag}: {name} {what}")));
    }

    pub(super) fn quoted(&self, name: &str, breaches: &mut Vec<Breach>) -> Option<&'a str> {
        match self.values.get(name)? {
            Value::Quoted(value) => Some(value),
            Value::Bare(_) => {
                self.wrong(name, "is not a quoted string", breaches);
                None
            }
        }
    }

    pub(super) fn bare(&self, name: &str, breaches: &mut Vec<Breach>) -> Option<&'a str> {
        match self.values.get(name)? {
            Value::Bare(value) => Some(value),
            Value::Quoted(_) => {
                self.wrong(name, "must not be quoted", breaches);
                None
            }
        }
    }

    pub(super) fn integer(&self, name: &str, breaches: &mut Vec<Breach>) -> Option<u64> {
        let value = self.bare(name, breaches)?;
        let parsed = integer(value);
        if parsed.is_none() {
            self.wrong(name, "is not a decimal integer", breaches);
        }
        parsed
    }

    pub(super) fn decimal(&self, name: &str, breaches: &mut Vec<Breach>) -> Option<f64> {
        let value = self.bare(name, breaches)?;
        let parsed = decimal(value);
        if parsed.is_none() {
            self.wrong(name, "is not a decimal number", breaches);
        }
        parsed
    }

    /// Whether an attribute that is either YES or absent is there. NO is tolerated where the text allows it.
    pub(super) fn yes(&self, name: &str, breaches: &mut Vec<Breach>) -> bool {
        match self.bare(name, breaches) {
            Some("YES") => true,
            None | Some("NO") => false,
            Some(_) => {
                self.wrong(name, "is not YES", breaches);
                false
            }
        }
    }

    pub(super) fn require<T>(&self, name: &str, value: Option<T>, breaches: &mut Vec<Breach>) -> Option<T> {
        if value.is_none() && !self.values.contains_key(name) {
            self.wrong(name, "is missing", breaches);
        }
        value
    }
}

pub(super) fn integer(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// A decimal floating-point number without exponent or sign.
pub(super) fn decimal(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if digits(whole) && digits(fraction) {
        text.parse().ok().filter(|value: &f64| value.is_finite())
    } else {
        None
    }
}
