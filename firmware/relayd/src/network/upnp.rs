//! A port mapped by UPnP, for routers that speak neither PCP nor NAT-PMP: a search for the gateway, its description, and
//! two calls (UPnP Device Architecture 1.1; WANIPConnection:1 and :2).
//!
//! Refuses to talk to any machine but the default gateway, whoever else answers and whatever a description names: the
//! search goes to everybody on the home network. It reads no more than it must, and follows no redirection.

mod words;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use words::{Refusal, Service, Url};

/// Where gateways listen for searches (UPnP Device Architecture 1.1, 1.2.2).
const SEARCH: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), 1900);
/// How often the search is sent, since it may be lost, and how long answers are waited for each time: a gateway may take
/// the second that MX gives it.
const SEARCHES: u32 = 3;
const ANSWER_MAX: Duration = Duration::from_millis(1500);
/// For one call, with its connection: home routers are slow.
const CALL_MAX: Duration = Duration::from_secs(5);
/// A description, or an answer.
const BODY_BYTES_MAX: usize = 128 << 10;
/// Ports outside that are tried when others have the one that is wanted.
const PORTS: u16 = 4;

/// Why no port is mapped.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpnpError {
    #[error("no socket")]
    Socket(#[source] std::io::Error),
    #[error("the router answers no search")]
    Silent,
    #[error("the router's description names no connection to the internet")]
    NoService,
    #[error("the router does not take a call in time")]
    Late,
    #[error("cannot connect to the router")]
    Connect(#[source] std::io::Error),
    #[error("the router speaks no HTTP")]
    Http(#[source] hyper::Error),
    #[error("the router's answer is too long, or ends early")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the router refuses with code {0}")]
    Refused(u32),
    #[error("the router answers what is no answer")]
    Odd,
}

/// Maps a UDP port of this host to one outside; says where it is reached, and for how long.
pub(super) async fn map(
    gateway: Ipv4Addr,
    own: Ipv4Addr,
    port: u16,
    lifetime_s: u32,
) -> Result<(SocketAddr, Duration), UpnpError> {
    let place = search(gateway, own).await?;
    let text = fetch(gateway, &place, None).await?.1;
    let service = Service::find(&text, &place).ok_or(UpnpError::NoService)?;
    let (outside_port, lifetime_s) = add(gateway, own, &service, port, lifetime_s).await?;
    let answer = call(gateway, &service, "GetExternalIPAddress", "").await?;
    let outside = words::value(&answer, "NewExternalIPAddress").and_then(|ip| ip.parse::<Ipv4Addr>().ok());
    let outside = outside.filter(|ip| !ip.is_unspecified()).ok_or(UpnpError::Odd)?;
    Ok((SocketAddr::new(IpAddr::V4(outside), outside_port), Duration::from_secs(lifetime_s.into())))
}

/// The port outside, and seconds: some routers map for ever or not at all.
async fn add(
    gateway: Ipv4Addr,
    own: Ipv4Addr,
    service: &Service,
    port: u16,
    lifetime_s: u32,
) -> Result<(u16, u32), UpnpError> {
    let mut given_s = lifetime_s;
    let mut outside = port;
    let mut left = PORTS;
    loop {
        let arguments = words::mapping(outside, own, port, given_s);
        match call(gateway, service, "AddPortMapping", &arguments).await {
            Ok(_) => return Ok((outside, lifetime_s)),
            Err(UpnpError::Refused(Refusal::ONLY_FOR_EVER)) if given_s != 0 => given_s = 0,
            Err(UpnpError::Refused(Refusal::TAKEN)) if left > 1 => {
                left -= 1;
                // Far from what others use next, and above what only the router's own programs may.
                outside = outside.wrapping_add(9973).max(1024);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Where the gateway describes itself.
async fn search(gateway: Ipv4Addr, own: Ipv4Addr) -> Result<Url, UpnpError> {
    let open = || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_multicast_if_v4(&own)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from((own, 0)).into())?;
        UdpSocket::from_std(socket.into())
    };
    let socket = open().map_err(UpnpError::Socket)?;
    let mut answer = [0; 1500];
    for _ in 0..SEARCHES {
        // A network without a way for it is one that answers nothing.
        let _ = socket.send_to(words::SEARCH.as_bytes(), SEARCH).await;
        let heard = timeout(ANSWER_MAX, async {
            loop {
                let (len, from) = socket.recv_from(&mut answer).await.map_err(UpnpError::Socket)?;
                let text = String::from_utf8_lossy(&answer[..len]);
                if let Some(place) = words::location(&text).filter(|_| from.ip() == gateway) {
                    return Ok(place);
                }
            }
        });
        match heard.await {
            Ok(Ok(place)) if place.host == gateway => return Ok(place),
            Ok(Err(error)) => return Err(error),
            Ok(Ok(_)) | Err(_) => {}
        }
    }
    Err(UpnpError::Silent)
}

/// Calls an action of the service; the answer's text.
async fn call(
    gateway: Ipv4Addr,
    service: &Service,
    action: &str,
    arguments: &str,
) -> Result<String, UpnpError> {
    let body = words::call(&service.kind, action, arguments);
    let action = format!("\"{}#{action}\"", service.kind);
    let (is_good, text) = fetch(gateway, &service.control, Some((action, body))).await?;
    match words::refusal(&text) {
        Some(code) => Err(UpnpError::Refused(code)),
        None if is_good => Ok(text),
        None => Err(UpnpError::Odd),
    }
}

/// One request on a connection of its own; whether its status is 200, and the text.
async fn fetch(
    gateway: Ipv4Addr,
    at: &Url,
    call: Option<(String, String)>,
) -> Result<(bool, String), UpnpError> {
    if at.host != gateway {
        return Err(UpnpError::NoService);
    }
    let asked = async {
        let stream = TcpStream::connect((at.host, at.port)).await.map_err(UpnpError::Connect)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(UpnpError::Http)?;
        // It ends with the answer, or with the sender.
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(if call.is_some() { Method::POST } else { Method::GET })
            .uri(&at.path)
            .header(header::HOST, format!("{}:{}", at.host, at.port))
            .header(header::CONNECTION, "close");
        let request = match call {
            Some((action, body)) => request
                .header(header::CONTENT_TYPE, "text/xml; charset=\"utf-8\"")
                .header("SOAPAction", action)
                .body(Full::new(Bytes::from(body))),
            None => request.body(Full::default()),
        };
        let request = request.map_err(|_| UpnpError::NoService)?;
        let answer = sender.send_request(request).await.map_err(UpnpError::Http)?;
        let is_good = answer.status() == http::StatusCode::OK;
        let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
        let body = body.map_err(UpnpError::Body)?.to_bytes();
        driver.abort();
        Ok((is_good, String::from_utf8_lossy(&body).into_owned()))
    };
    timeout(CALL_MAX, asked).await.map_err(|_| UpnpError::Late)?
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const HOME: Ipv4Addr = Ipv4Addr::LOCALHOST;

    /// A router that gives these answers, one on each connection; and what it was asked.
    async fn router(answers: Vec<(&'static str, String)>) -> (Service, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind((HOME, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        tokio::spawn(async move {
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !String::from_utf8_lossy(&request).contains("</s:Envelope>") {
                    let mut piece = [0; 4096];
                    let len = stream.read(&mut piece).await.unwrap();
                    request.extend_from_slice(&piece[..len]);
                }
                heard.lock().unwrap().push(String::from_utf8(request).unwrap());
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await.unwrap();
            }
        });
        let control = Url { host: HOME, port, path: "/ctl".to_owned() };
        (Service { kind: "urn:schemas-upnp-org:service:WANIPConnection:1".to_owned(), control }, asked)
    }

    fn refused(code: u32) -> (&'static str, String) {
        let body = format!(
            "<s:Fault><detail><UPnPError><errorCode>{code}</errorCode></UPnPError></detail></s:Fault>"
        );
        ("500 Internal Server Error", body)
    }

    fn good() -> (&'static str, String) {
        ("200 OK", "<u:AddPortMappingResponse/>".to_owned())
    }

    #[tokio::test]
    async fn a_router_that_maps_for_ever_alone_is_asked_so() {
        let (service, asked) = router(vec![refused(725), good()]).await;
        assert_eq!(add(HOME, HOME, &service, 7466, 3600).await.unwrap(), (7466, 3600));
        let asked = asked.lock().unwrap();
        assert!(asked[0].starts_with("POST /ctl HTTP/1.1\r\n") && asked[0].contains("#AddPortMapping\"\r\n"));
        assert!(asked[0].contains("<NewLeaseDuration>3600</NewLeaseDuration>"));
        assert!(asked[1].contains("<NewLeaseDuration>0</NewLeaseDuration>"));
    }

    #[tokio::test]
    async fn a_port_that_others_have_is_left_to_them() {
        let (service, asked) = router(vec![refused(718), good()]).await;
        let (outside, _) = add(HOME, HOME, &service, 7466, 3600).await.unwrap();
        assert_eq!(outside, 17_439);
        assert!(asked.lock().unwrap()[1].contains("<NewInternalPort>7466</NewInternalPort>"));
        let (service, _) = router(vec![refused(718); 4]).await;
        assert!(matches!(add(HOME, HOME, &service, 7466, 3600).await, Err(UpnpError::Refused(718))));
        let (service, asked) = router(vec![refused(606)]).await;
        assert!(matches!(add(HOME, HOME, &service, 7466, 3600).await, Err(UpnpError::Refused(606))));
        assert_eq!(asked.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn nobody_but_the_gateway_is_talked_to() {
        let (service, asked) = router(vec![good()]).await;
        let elsewhere = Ipv4Addr::new(192, 0, 2, 1);
        assert!(matches!(call(elsewhere, &service, "X", "").await, Err(UpnpError::NoService)));
        assert!(asked.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn an_endless_answer_is_not_read() {
        let (service, _) = router(vec![("200 OK", "a".repeat(BODY_BYTES_MAX + 1))]).await;
        assert!(matches!(call(HOME, &service, "X", "").await, Err(UpnpError::Body(_))));
    }
}
