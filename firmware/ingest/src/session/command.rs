//! The commands of a publisher (RTMP 1.0, 7.2; FCPublish and its kin are Flash Media Server's).

use super::amf::{AmfError, AmfReader, Value};

/// Arguments that are read; what follows is of no use here.
const ARGUMENTS_MAX: usize = 4;

#[derive(Debug, PartialEq)]
pub(super) enum Command {
    Connect {
        transaction: f64,
        app: String,
        /// The peer said what it can do by Enhanced RTMP, and wants to hear the same.
        enhanced: bool,
    },
    CreateStream {
        transaction: f64,
    },
    ReleaseStream {
        transaction: f64,
    },
    FcPublish {
        transaction: f64,
    },
    Publish {
        key: String,
    },
    /// FCUnpublish, closeStream or deleteStream.
    Goodbye {
        unpublish: bool,
    },
    Play,
    Unknown,
}

impl Command {
    /// Name and transaction have to be readable; arguments end at the first one that is not.
    pub(super) fn parse(reader: &mut AmfReader<'_>) -> Result<Self, AmfError> {
        let name = reader.read()?.ok_or(AmfError::CutOff)?;
        let transaction = reader.read()?.as_ref().and_then(Value::as_number).unwrap_or(0.0);
        let arguments: Vec<Value> =
            std::iter::from_fn(|| reader.read().ok().flatten()).take(ARGUMENTS_MAX).collect();
        Ok(match name.as_str().unwrap_or_default() {
            "connect" => connect(transaction, arguments.first()),
            "createStream" => Self::CreateStream { transaction },
            "releaseStream" => Self::ReleaseStream { transaction },
            "FCPublish" => Self::FcPublish { transaction },
            "publish" => {
                let key = arguments.get(1).and_then(Value::as_str).unwrap_or_default();
                Self::Publish { key: without_query(key).to_owned() }
            }
            "FCUnpublish" => Self::Goodbye { unpublish: true },
            "closeStream" | "deleteStream" => Self::Goodbye { unpublish: false },
            "play" | "play2" => Self::Play,
            _ => Self::Unknown,
        })
    }
}

fn connect(transaction: f64, about: Option<&Value>) -> Command {
    let get = |key| about.and_then(|about| about.get(key));
    let app = get("app").and_then(Value::as_str).unwrap_or_default();
    let app = without_query(app).trim_matches('/').to_owned();
    // Enhanced RTMP v2, "Enhancing NetConnection connect Command"; v1 has fourCcList only.
    let enhanced = ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"]
        .into_iter()
        .any(|key| get(key).is_some());
    Command::Connect { transaction, app, enhanced }
}

/// Services that add parameters to applications and keys do it like URLs.
fn without_query(name: &str) -> &str {
    name.split_once('?').map_or(name, |(name, _)| name)
}
