//! OBS without a screen, by `obs.sh`: what it publishes, what the box advises, how it takes a refusal.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::laboratory::Laboratory;
use crate::studio::Studio;
use crate::verdict::{check_media, playlist, read};

struct Obs {
    script: Child,
    dir: PathBuf,
}

impl Obs {
    /// Ends by itself after the seconds.
    fn start(lab: &Laboratory, path: &str, key: &str, keyframe_s: u32, seconds: u32) -> Self {
        let dir = lab.dir.join("obs");
        let script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/publishers/obs.sh"))
            .args([&format!("rtmp://{}{path}", lab.rtmp), key, &keyframe_s.to_string(), &seconds.to_string()])
            .arg(&dir)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Self { script, dir }
    }

    /// Waits as long as OBS runs: it takes half a minute to begin on a busy machine.
    fn until<T>(&mut self, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(found) = condition() {
                return found;
            }
            assert!(self.script.try_wait().unwrap().is_none(), "OBS ended before {what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("obs.out")).unwrap_or_default()
    }

    /// What it logged, when it is over.
    fn finish(mut self) -> String {
        let status = self.script.wait().unwrap();
        assert!(status.success(), "{}", self.log());
        self.log()
    }
}

/// Publishes with the keyframe interval until there are the segments; gives the advice on it.
fn publish(keyframe_s: u32, segments: usize, target_duration_s: u32) -> Vec<String> {
    let lab = Laboratory::start("");
    let mut obs = Obs::start(&lab, "/live", "secret", keyframe_s, 90);
    let name = obs.until("it publishes", || {
        (lab.get("/live/index.json").text().contains("\"live\"")).then(|| playlist(&lab).name)
    });
    let playlist = obs.until("the segments are listed", || {
        Some(read(&lab, &name)).filter(|playlist| playlist.segments.len() >= segments)
    });
    assert_eq!(playlist.target_duration_s, target_duration_s);
    // No look at flash and beep: OBS rendering in software sends them up to 0.1 s apart.
    check_media(&lab, &playlist);
    let studio = Studio::enter(&lab);
    let status = studio.status();
    let encoder = status["encoder"].as_str().unwrap();
    assert!(encoder.contains("obs-output module"), "{encoder}");
    assert_eq!(status["video"]["width"], 640);
    let advice = studio.advice();
    obs.finish();
    advice
}

#[test]
#[ignore = "needs OBS and Xvfb; a minute and a half"]
fn obs_with_automatic_keyframes_is_served_and_advised() {
    let advice = "OBS sends a keyframe every 8.3 s. Set Keyframe Interval to 2 s: Settings, Output. Viewers then start sooner.";
    assert_eq!(publish(0, 2, 9), [advice]);
}

#[test]
#[ignore = "needs OBS and Xvfb; a minute and a half"]
fn obs_with_a_keyframe_each_two_seconds_needs_no_advice() {
    assert_eq!(publish(2, 6, 2), [""; 0]);
}

/// OBS is told once, says so, and does not come again, though it may reconnect 25 times, a second apart.
fn check_refused(path: &str, key: &str, reason: &str) {
    let lab = Laboratory::start("");
    let obs = Obs::start(&lab, path, key, 2, 40);
    let studio = Studio::enter(&lab);
    let log = obs.finish();
    assert!(log.contains(reason), "{log}");
    assert_eq!(studio.refusals(), [reason]);
}

#[test]
#[ignore = "needs OBS and Xvfb; half a minute"]
fn obs_says_that_the_key_is_wrong() {
    check_refused("/live", "wrong", "wrong stream key: copy it again from the streamer's page of the box");
}

#[test]
#[ignore = "needs OBS and Xvfb; half a minute"]
fn obs_says_that_the_application_is_unknown() {
    let reason = "there is no such application: the server address has to end in /live";
    check_refused("/vod", "secret", reason);
}
