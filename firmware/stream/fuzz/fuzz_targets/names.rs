//! Names from URIs: no panic, and what is a name has one spelling only.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use stream::playlist::PlaylistName;
use stream::{EpochId, ObjectName};

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Text(&'a str),
    /// A name with a piece of text put in somewhere.
    Bent {
        name: Name,
        at: u8,
        text: &'a str,
    },
    Name(Name),
}

#[derive(Arbitrary, Debug)]
enum Name {
    Init(u64),
    Segment(u64, u64),
    Part(u64, u64, u32),
    Playlist(u64, u32),
}

impl Name {
    fn text(&self) -> String {
        match *self {
            Self::Init(epoch) => ObjectName::Init(EpochId(epoch)).to_string(),
            Self::Segment(epoch, msn) => ObjectName::Segment(EpochId(epoch), msn).to_string(),
            Self::Part(epoch, msn, part) => ObjectName::Part(EpochId(epoch), msn, part).to_string(),
            Self::Playlist(epoch, n) => PlaylistName { epoch: EpochId(epoch), n }.to_string(),
        }
    }
}

fn check<T: FromStr + Display + Debug>(text: &str) -> bool {
    let name = text.parse::<T>();
    if let Ok(name) = &name {
        assert_eq!(name.to_string(), text);
        let harmless = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"./".contains(&byte);
        assert!(text.bytes().all(harmless) && !text.contains(".."), "{text}");
    }
    name.is_ok()
}

fn check_all(text: &str) -> usize {
    [check::<EpochId>(text), check::<ObjectName>(text), check::<PlaylistName>(text)]
        .into_iter()
        .filter(|is_one| *is_one)
        .count()
}

fuzz_target!(|input: Input<'_>| {
    match input {
        Input::Text(text) => assert!(check_all(text) <= 1, "{text} is two things"),
        Input::Bent { name, at, text } => {
            let mut name = name.text();
            name.insert_str(usize::from(at) % (name.len() + 1), text);
            assert!(check_all(&name) <= 1, "{name} is two things");
        }
        Input::Name(name) => assert_eq!(check_all(&name.text()), 1, "{name:?}"),
    }
});
