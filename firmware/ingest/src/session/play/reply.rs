//! What a server says to a viewer (RTMP 1.0, 7.2): results, errors and the states of the stream.
//!
//! Of an error only its code is kept: descriptions repeat the stream's name, which may hold a key.

use crate::session::amf::{AmfError, AmfReader, Value};

/// Arguments that are read; what follows is of no use here.
const ARGUMENTS_MAX: usize = 4;
const CODE_CHARS_MAX: usize = 64;

#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    /// `number` is what `createStream` gives.
    Result {
        transaction: f64,
        number: Option<f64>,
    },
    /// `_error`, or a status of level error.
    Error {
        code: String,
    },
    Started,
    /// What was published is over.
    Ended,
    Unknown,
}

impl Reply {
    /// Name and transaction have to be readable; arguments end at the first one that is not.
    pub(super) fn parse(reader: &mut AmfReader<'_>) -> Result<Self, AmfError> {
        let name = reader.read()?.ok_or(AmfError::CutOff)?;
        let transaction = reader.read()?.as_ref().and_then(Value::as_number).unwrap_or(0.0);
        let arguments: Vec<Value> =
            std::iter::from_fn(|| reader.read().ok().flatten()).take(ARGUMENTS_MAX).collect();
        Ok(match name.as_str().unwrap_or_default() {
            "_result" => Self::Result { transaction, number: arguments.get(1).and_then(Value::as_number) },
            "_error" => Self::Error { code: text(&arguments, "code") },
            "onStatus" => status(&arguments),
            "close" => Self::Ended,
            _ => Self::Unknown,
        })
    }
}

fn status(arguments: &[Value]) -> Reply {
    let code = text(arguments, "code");
    match code.as_str() {
        "NetStream.Play.Start" => Reply::Started,
        "NetStream.Play.UnpublishNotify" | "NetStream.Play.Stop" | "NetStream.Play.Complete" => Reply::Ended,
        _ if text(arguments, "level") == "error" => Reply::Error { code },
        _ => Reply::Unknown,
    }
}

/// A field of the first argument that has it.
fn text(arguments: &[Value], key: &str) -> String {
    let found = arguments.iter().find_map(|argument| argument.get(key)).and_then(Value::as_str);
    let plain = |char: &char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
    found.unwrap_or_default().chars().filter(plain).take(CODE_CHARS_MAX).collect()
}
