//! Texts that are links, nearly are, or aren't: what opens was signed by the stream's key, for this stream and this
//! time, and has one spelling.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use trust::access::Lock;
use trust::{AccessError, AccessToken, LinkId, MeshId, Signed, StreamKey, UnixSeconds};

#[path = "../../tests/trust/mesh.rs"]
mod mesh;

use mesh::{Mesh, NOW, secs};

const EDITS_MAX: usize = 4;
const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Text(&'a str),
    /// The good link, with characters put over or cut off.
    Edited {
        puts: Vec<(u16, u8)>,
        cut: u8,
    },
    /// Signed by the right key, whatever it says.
    Signed {
        stream: &'a str,
        id: [u8; 8],
        from: Option<i16>,
        until: i16,
        elsewhere: bool,
        other_key: bool,
    },
}

struct World {
    mesh: Mesh,
    id: MeshId,
    key: StreamKey,
    good: String,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let mesh = Mesh::new(1);
    let secret = mesh.stream_secret(1);
    let good = Signed::sign(mesh.link("demo"), &secret).expect("in bounds").to_string();
    World { id: mesh.id(), key: secret.public(), good, mesh }
});

fn open(text: &str) -> Result<AccessToken, AccessError> {
    let lock = Lock { mesh: &WORLD.id, stream: "demo", key: &WORLD.key, now: NOW };
    let opened = AccessToken::open(text, &lock);
    if let Ok(token) = &opened {
        let signed: Signed<AccessToken> = text.parse().expect("it was read");
        assert_eq!(signed.to_string(), text, "one spelling");
        assert!(text.len() <= AccessToken::TEXT_MAX && NOW < token.expires && *token.stream == *"demo");
    }
    opened
}

fuzz_target!(|input: Input<'_>| match input {
    Input::Text(text) => assert!(open(text).is_err() || text == WORLD.good),
    Input::Edited { puts, cut } => {
        let mut text = WORLD.good.clone().into_bytes();
        for (at, value) in puts.iter().take(EDITS_MAX) {
            let at = usize::from(*at) % text.len();
            text[at] = BASE64URL[usize::from(value % 64)];
        }
        text.truncate(text.len() - usize::from(cut % 8));
        let text = String::from_utf8(text).expect("letters and digits");
        assert_eq!(open(&text).is_ok(), text == WORLD.good, "{text}");
    }
    Input::Signed { stream, id, from, until, elsewhere, other_key } => {
        let mesh = if elsewhere { Mesh::new(2).id() } else { WORLD.id };
        let from = from.map(|from| secs(from.into()));
        let token = AccessToken {
            mesh,
            stream: stream.into(),
            id: LinkId(id),
            label: None,
            not_before: from,
            expires: secs(until.into()),
        };
        let secret = WORLD.mesh.stream_secret(if other_key { 2 } else { 1 });
        let Ok(signed) = Signed::sign(token.clone(), &secret) else { return };
        let meant = stream == "demo" && !elsewhere && !other_key;
        let holds = until > 0 && from.is_none_or(|from: UnixSeconds| from <= NOW);
        assert_eq!(open(&signed.to_string()).is_ok(), meant && holds);
    }
});
