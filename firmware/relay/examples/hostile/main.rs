//! A box of the mesh that is no friend: it takes a stream from its origin as any child does, and gives it to others in the
//! way that it is told. The lab puts it in the place of an honest box's port (docs/lab.md, `hostile`). Nothing of it is in
//! the daemon, and it refuses to do wrong before the file that it is told to wait for is there.
//!
//! `hostile DEED ORIGIN STREAM PORT FILE`; on its standard output a line for each feed that opens, does wrong and ends.

mod book;
mod child;
mod deed;

use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use stream::StreamName;

use book::Book;
use deed::Deed;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How often it looks whether it should begin.
const LOOK_EVERY: Duration = Duration::from_millis(10);

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let mut word = |what: &'static str| words.next().ok_or(what);
    let deed: Deed = word("no deed")?.parse()?;
    let origin: SocketAddr = word("no origin")?.parse()?;
    let stream: StreamName = word("no stream")?.parse()?;
    let port: u16 = word("no port")?.parse()?;
    let file = PathBuf::from(word("no file")?);
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
    let book = Arc::new(Book::default());
    let recorder = Arc::clone(&book);
    std::thread::spawn(move || {
        loop {
            if let Err(error) = book::record(origin, &stream, &recorder) {
                say("origin", &error.to_string());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    });
    let beginner = Arc::clone(&book);
    std::thread::spawn(move || {
        while !file.exists() {
            std::thread::sleep(LOOK_EVERY);
        }
        beginner.begin();
        say("begins", "");
    });
    for (id, socket) in listener.incoming().enumerate() {
        let (socket, book) = (socket?, Arc::clone(&book));
        std::thread::spawn(move || {
            if let Err(error) = child::serve(&socket, id, deed, &book) {
                say("error", &format!("{id} {error}"));
            }
        });
    }
    Ok(())
}

/// A line for the lab: when, in milliseconds since 1970, and what.
fn say(what: &str, more: &str) {
    let now_ms = UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
    println!("{now_ms} {what} {more}");
}
