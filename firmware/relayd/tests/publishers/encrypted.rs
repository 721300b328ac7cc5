//! RTMPS in and HTTP/2 over TLS out, by the certificate that the box makes itself.

use std::fs;
use std::process::Command;

use crate::ffmpeg::{H264_AAC, Publishing};
use crate::laboratory::Laboratory;
use crate::verdict::playlist;

#[test]
fn rtmps_in_and_http_2_out() {
    let lab = Laboratory::start("[ingest]\nrtmps = \"127.0.0.1:0\"\n[http]\nhttps = \"127.0.0.1:0\"\n");
    let addresses = fs::read(lab.dir.join("addresses.json")).unwrap();
    let addresses: serde_json::Value = serde_json::from_slice(&addresses).unwrap();
    let (rtmps, https) = (addresses["rtmps"].as_str().unwrap(), addresses["https"].as_str().unwrap());

    let options = format!("{H264_AAC} -tls_verify 0");
    let url = format!("rtmps://{rtmps}/live/secret");
    let _publishing = Publishing::start("ffmpeg".as_ref(), &options, &url);
    let media = playlist(&lab);

    assert!(fetch(https, "index.m3u8").contains(&media.name));
    let listed = fetch(https, &media.name);
    assert!(listed.starts_with("#EXTM3U") && listed.contains("#EXT-X-PART:"), "{listed}");
}

/// By curl over HTTP/2.
fn fetch(https: &str, name: &str) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--insecure", "--http2", "--write-out", "\n%{http_version} %{http_code}"])
        .arg(format!("https://{https}/live/demo/{name}"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let (body, how) = said.rsplit_once('\n').unwrap();
    assert_eq!(how, "2 200", "{body}");
    body.to_owned()
}
