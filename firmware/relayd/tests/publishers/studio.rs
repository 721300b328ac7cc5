//! The streamer's page as a browser with the PIN reads it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::laboratory::Laboratory;

pub(crate) struct Studio<'a> {
    lab: &'a Laboratory,
    cookie: String,
}

impl<'a> Studio<'a> {
    pub(crate) fn enter(lab: &'a Laboratory) -> Self {
        let pin = fs::read_to_string(lab.dir.join("pin")).unwrap();
        let body = format!("{{\"pin\":\"{}\"}}", pin.trim());
        let origin = format!("Origin: http://{}\r\nContent-Type: application/json\r\n", lab.http);
        let answer = ask(lab, "POST", "/api/v1/session", &origin, &body);
        let cookie = answer.lines().find_map(|line| {
            line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
        });
        let (_, cookie) = cookie.unwrap_or_else(|| panic!("no cookie: {answer}"));
        Self { lab, cookie: cookie.split(';').next().unwrap().to_owned() }
    }

    fn view(&self) -> Value {
        let cookie = format!("Cookie: {}\r\n", self.cookie);
        let answer = ask(self.lab, "GET", "/api/v1/studio", &cookie, "");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// The one stream's status.
    pub(crate) fn status(&self) -> Value {
        self.view()["streams"][0]["status"].clone()
    }

    /// Advice on the one stream.
    pub(crate) fn advice(&self) -> Vec<String> {
        texts(&self.view()["streams"][0]["advice"])
    }

    /// Why publishers were turned away.
    pub(crate) fn refusals(&self) -> Vec<String> {
        texts(&self.view()["refusals"])
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item["text"].as_str().unwrap().to_owned()).collect()
}

fn ask(lab: &Laboratory, method: &str, path: &str, fields: &str, body: &str) -> String {
    let mut socket = TcpStream::connect(lab.http).unwrap();
    let (host, length) = (lab.http, body.len());
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}
