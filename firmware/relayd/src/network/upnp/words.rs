//! What is said to a UPnP gateway, and what its answers mean: plain text in, plain values out.
//!
//! Refuses to be an XML parser: it looks for the few elements that it needs, by their names without prefixes, in texts
//! that it never passes on. What it does not find is not there.

use std::net::Ipv4Addr;

/// As UPnP Device Architecture 1.1, 1.3.2 has it; version 2 of the device answers to version 1.
pub(super) const SEARCH: &str = "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n\
    ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n";

/// Services that map ports, the best first.
const KINDS: [&str; 3] = [
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];

/// What `http` names: plain HTTP at an address of IPv4, since the gateway's is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) host: Ipv4Addr,
    pub(super) port: u16,
    /// Begins with `/`.
    pub(super) path: String,
}

impl Url {
    fn read(text: &str) -> Option<Self> {
        let rest = text.trim().strip_prefix("http://")?;
        let (place, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let (host, port) = place.split_once(':').unwrap_or((place, "80"));
        Some(Self { host: host.parse().ok()?, port: port.parse().ok()?, path: plain(path)?.to_owned() })
    }

    /// Another place, as this one's text names it.
    fn join(&self, text: &str) -> Option<Self> {
        let text = text.trim();
        match text {
            _ if text.starts_with("http://") => Self::read(text),
            _ if text.starts_with('/') => Some(Self { path: plain(text)?.to_owned(), ..self.clone() }),
            _ => {
                let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                Some(Self { path: format!("{folder}/{}", plain(text)?), ..self.clone() })
            }
        }
    }
}

/// A path without anything that could end a line of HTTP.
fn plain(path: &str) -> Option<&str> {
    path.bytes().all(|byte| byte.is_ascii_graphic()).then_some(path)
}

/// A service that maps ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) kind: String,
    pub(super) control: Url,
}

impl Service {
    /// The best one of a description that came from `place`.
    pub(super) fn find(description: &str, place: &Url) -> Option<Self> {
        let base = value(description, "URLBase").and_then(Url::read);
        let base = base.filter(|base| base.host == place.host).unwrap_or_else(|| place.clone());
        KINDS.into_iter().find_map(|kind| {
            let is_one = |service: &&str| value(service, "serviceType") == Some(kind);
            let service = elements(description, "service").find(is_one)?;
            let control = base.join(value(service, "controlURL")?)?;
            Some(Self { kind: kind.to_owned(), control })
        })
    }
}

/// Codes of refusals that have another way (WANIPConnection:1, 2.4.16).
pub(super) struct Refusal;

impl Refusal {
    /// OnlyPermanentLeasesSupported.
    pub(super) const ONLY_FOR_EVER: u32 = 725;
    /// ConflictInMappingEntry.
    pub(super) const TAKEN: u32 = 718;
}

/// Where an answer to a search says that the description is; `None` for what is no such answer.
pub(super) fn location(answer: &str) -> Option<Url> {
    let mut lines = answer.lines();
    lines.next().filter(|first| first.starts_with("HTTP/1.1 200"))?;
    let fields = lines.filter_map(|line| line.split_once(':'));
    let mut places = fields.filter(|(name, _)| name.trim().eq_ignore_ascii_case("location"));
    Url::read(places.next()?.1)
}

/// The body of a call (UPnP Device Architecture 1.1, 3.2.1).
pub(super) fn call(kind: &str, action: &str, arguments: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body><u:{action} xmlns:u=\"{kind}\">\
         {arguments}</u:{action}></s:Body></s:Envelope>\r\n"
    )
}

/// Arguments of AddPortMapping, in their order (WANIPConnection:1, 2.4.16).
pub(super) fn mapping(outside: u16, own: Ipv4Addr, port: u16, lifetime_s: u32) -> String {
    format!(
        "<NewRemoteHost></NewRemoteHost><NewExternalPort>{outside}</NewExternalPort><NewProtocol>UDP</NewProtocol>\
         <NewInternalPort>{port}</NewInternalPort><NewInternalClient>{own}</NewInternalClient>\
         <NewEnabled>1</NewEnabled><NewPortMappingDescription>Relaybox</NewPortMappingDescription>\
         <NewLeaseDuration>{lifetime_s}</NewLeaseDuration>"
    )
}

/// The code of an answer that refuses.
pub(super) fn refusal(answer: &str) -> Option<u32> {
    value(answer, "errorCode")?.parse().ok()
}

/// What stands in the first element of that name.
pub(super) fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    elements(text, name).next().map(str::trim)
}

/// What stands in each element of that name, which has no other one of its name inside.
fn elements<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (tag, after) = rest.split_once('<')?.1.split_once('>')?;
            rest = after;
            let own = tag.split_whitespace().next().unwrap_or_default();
            if own.rsplit(':').next() != Some(name) || own.starts_with('/') || tag.ends_with('/') {
                continue;
            }
            let end = rest.find(&format!("</{own}>"))?;
            let (inside, after) = rest.split_at(end);
            rest = after;
            return Some(inside);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Url {
        Url { host: Ipv4Addr::new(192, 168, 1, 1), port: 5000, path: "/d/root.xml".to_owned() }
    }

    #[test]
    fn an_answer_to_a_search_says_where_to_look() {
        let answer = "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: upnp:rootdevice\r\n\
                      Location:http://192.168.1.1:5000/d/root.xml\r\n\r\n";
        assert_eq!(location(answer), Some(place()));
        for odd in [
            "",
            "NOTIFY * HTTP/1.1\r\nLOCATION: http://192.168.1.1/\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nLOCATION: https://192.168.1.1/\r\n\r\n",
            "HTTP/1.1 200 OK\r\nLOCATION: http://router/\r\n\r\n",
            "HTTP/1.1 200 OK\r\nLOCATION: http://192.168.1.1:99999/\r\n\r\n",
            "HTTP/1.1 200 OK\r\nLOCATION: http://192.168.1.1/a b\r\n\r\n",
        ] {
            assert_eq!(location(odd), None, "{odd}");
        }
    }

    #[test]
    fn the_connection_is_found_in_a_description() {
        let description = "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\"><device><serviceList>\
            <service><serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType>\
            <controlURL>/ctl/L3F</controlURL></service></serviceList><deviceList><device><serviceList>\
            <service><serviceType> urn:schemas-upnp-org:service:WANIPConnection:1 </serviceType>\
            <SCPDURL>/x</SCPDURL><controlURL>CONTROL</controlURL></service></serviceList></device></deviceList>\
            </device></root>";
        let found = |control: &str| Service::find(&description.replace("CONTROL", control), &place());
        let paths =
            ["/ctl/IPConn", "ctl", "http://192.168.1.1:80/c"].map(|control| found(control).unwrap().control);
        let shown = paths.map(|url| format!("{}:{}{}", url.host, url.port, url.path));
        assert_eq!(shown, ["192.168.1.1:5000/ctl/IPConn", "192.168.1.1:5000/d/ctl", "192.168.1.1:80/c"]);
        assert_eq!(found("/a\r\nX: y"), None);
        assert_eq!(Service::find("<service><serviceType>other</serviceType></service>", &place()), None);
        assert_eq!(Service::find(&"<".repeat(1000), &place()), None);
        let foreign = description.replace("<device>", "<URLBase>http://10.0.0.9:1/</URLBase><device>");
        assert_eq!(Service::find(&foreign, &place()).unwrap().control.host, place().host);
    }

    #[test]
    fn answers_are_read_with_any_prefix() {
        let fault = "<SOAP:Fault><detail><e:UPnPError xmlns:e=\"u\"><e:errorCode>718</e:errorCode></e:UPnPError></detail>";
        assert_eq!(refusal(fault), Some(718));
        let answer = "<u:GetExternalIPAddressResponse xmlns:u=\"x\"><NewExternalIPAddress>11.0.0.2</NewExternalIPAddress>";
        assert_eq!((value(answer, "NewExternalIPAddress"), refusal(answer)), (Some("11.0.0.2"), None));
        assert_eq!(value("<a/><a>1</a>", "a"), Some("1"));
        assert_eq!(value("<a>1", "a"), None);
    }
}
