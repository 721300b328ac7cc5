//! By HLS: nginx cuts MPEG-TS segments, which come out as parts on one timeline.

use crate::ffmpeg::{H264_AAC, Publishing};
use crate::laboratory::{Laboratory, until};
use crate::nginx::Nginx;
use crate::verdict::{check_media, check_sync};
use crate::{await_state, check_secrecy, epochs, lint, segments};

fn pulling(nginx: &Nginx, path: &str) -> Laboratory {
    let url = format!("http://{}/{path}", nginx.http);
    Laboratory::start(&format!("[[pull]]\nname = \"demo\"\nurl = \"{url}\"\n"))
}

#[test]
fn a_stream_is_taken_from_segments_and_comes_back_with_the_server() {
    let mut nginx = Nginx::start();
    let lab = pulling(&nginx, "away/show.m3u8?key=s3cret");
    let waiting = await_state(&lab, "waiting");
    assert_eq!(waiting["trouble"], "the server has no playlist that goes on");

    let publishing = Publishing::start("ffmpeg".as_ref(), H264_AAC, &nginx.url("show"));
    await_state(&lab, "live");
    let files = check_media(&lab, &segments(&lab, 5));
    check_sync(files.last().unwrap(), 4);
    lint(&lab);
    let before = epochs(&lab);

    nginx.stop();
    drop(publishing);
    let failed = await_state(&lab, "failed");
    assert!(failed["trouble"].as_str().unwrap().starts_with("no connection: "), "{failed}");
    nginx.again();
    let _publishing = Publishing::start("ffmpeg".as_ref(), H264_AAC, &nginx.url("show"));
    await_state(&lab, "live");
    until("there is a new epoch", || epochs(&lab).iter().any(|map| !before.contains(map)).then_some(()));
    check_media(&lab, &segments(&lab, 4));
    check_secrecy(&lab, "s3cret");
}

#[test]
fn a_playlist_that_leads_elsewhere_is_not_followed() {
    let nginx = Nginx::start();
    let there =
        format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhttp://localhost:{}/show.m3u8\n", nginx.http.port());
    nginx.place("lure.m3u8", &there);
    let lab = pulling(&nginx, "lure.m3u8");
    let failed = await_state(&lab, "failed");
    let trouble = "it leads to another host, or from TLS to none: name that one instead";
    assert_eq!(failed["trouble"], trouble);
}
