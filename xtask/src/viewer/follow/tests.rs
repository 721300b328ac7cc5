//! The follower against a canned server: which requests it makes, in which order, and what it counts.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use super::*;

const MULTIVARIANT: &str = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na.m3u8\n";
const FIRST: &str = "#EXTM3U
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-MAP:URI=\"one/init\"
#EXT-X-PART:DURATION=0.2,URI=\"one/7.0\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.2,URI=\"one/7.1\"
#EXTINF:0.4,
one/7
#EXT-X-PART:DURATION=0.2,URI=\"one/8.0\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.2,URI=\"one/8.1\"
";
const SECOND: &str = "#EXTM3U
#EXT-X-MEDIA-SEQUENCE:8
#EXT-X-MAP:URI=\"one/init\"
#EXT-X-PART:DURATION=0.2,URI=\"one/8.0\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.2,URI=\"one/8.1\"
#EXTINF:0.4,
one/8
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI=\"two/init\"
#EXT-X-PART:DURATION=0.2,URI=\"two/9.0\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.2,URI=\"two/9.1\"
";

fn answer(path: &str) -> (&'static str, String) {
    let text = match path {
        "/live/demo/index.m3u8" => MULTIVARIANT.to_owned(),
        "/live/demo/a.m3u8" => FIRST.to_owned(),
        "/live/demo/a.m3u8?_HLS_msn=8&_HLS_part=2" => SECOND.to_owned(),
        _ if path.starts_with("/live/demo/one/") || path.starts_with("/live/demo/two/") => {
            format!("<{path}>")
        }
        _ => return ("503 Service Unavailable", String::new()),
    };
    ("200 OK", text)
}

/// Answers requests one connection after the other, and reports the paths; ends with the stop.
fn serve(listener: &TcpListener, stop: &Stop) -> Vec<String> {
    let mut paths = Vec::new();
    for connection in listener.incoming() {
        if stop.wanted() {
            break;
        }
        let path = serve_one(connection.unwrap());
        // What follows the second playlist is refused: all there is was read.
        if path.ends_with("_HLS_msn=9&_HLS_part=2") {
            stop.set();
        }
        paths.push(path);
    }
    paths
}

fn serve_one(mut connection: TcpStream) -> String {
    let mut lines = BufReader::new(connection.try_clone().unwrap()).lines().map(Result::unwrap);
    let request = lines.next().unwrap();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let path = request.split(' ').nth(1).unwrap().to_owned();
    let (status, body) = answer(&path);
    write!(
        connection,
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    path
}

#[test]
fn every_part_is_read_once_from_the_last_keyframe_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tally, stop) = (Arc::new(Mutex::new(Tally::default())), Stop::default());
    let server = std::thread::spawn({
        let stop = stop.clone();
        move || serve(&listener, &stop)
    });
    let sample = Follower::new(&url, "demo", tally.clone(), stop).run().unwrap();
    // The server looks at the stop when a connection comes.
    TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    assert_eq!(
        server.join().unwrap(),
        [
            "/live/demo/index.m3u8",
            "/live/demo/a.m3u8",
            "/live/demo/one/init",
            "/live/demo/one/8.0",
            "/live/demo/one/8.1",
            "/live/demo/a.m3u8?_HLS_msn=8&_HLS_part=2",
            "/live/demo/two/init",
            "/live/demo/two/9.0",
            "/live/demo/two/9.1",
            "/live/demo/a.m3u8?_HLS_msn=9&_HLS_part=2",
        ]
    );
    let tally = tally.lock().unwrap().clone();
    assert_eq!((tally.playlists, tally.parts, tally.epochs, tally.faults), (2, 4, 2, 1));
    assert_eq!(
        String::from_utf8(sample.bytes).unwrap(),
        "</live/demo/two/init></live/demo/two/9.0></live/demo/two/9.1>"
    );
}
