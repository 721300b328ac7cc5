//! STUN at the coordinator: a box learns from which address it is seen, on two ports.

use std::net::UdpSocket;
use std::time::Duration;

use wire::stun::{Transaction, read_answer, request};

use crate::hand::Hand;
use crate::house::{House, text, wait_for};

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket
}

#[test]
fn a_box_learns_on_two_ports_where_it_is_seen() {
    let house = House::running("stun");
    let ana = Hand::join(&house, "ana", 1);
    let ports = ana.enrolled.stun_ports.to_vec();
    assert!(ports.len() == 2 && ports[0] != ports[1], "{ports:?}");
    assert_eq!(ana.beat(&house, &[]).stun_ports.to_vec(), ports);
    let socket = socket();
    let own = socket.local_addr().unwrap();
    for port in ports {
        let transaction = Transaction([port as u8; 12]);
        // Neither of these is answered: the first answer that comes is that to the request.
        for stranger in [&[1, 0, 0, 0][..], &request(transaction)[..20], &[0xff; 1400]] {
            socket.send_to(stranger, ("127.0.0.1", port)).unwrap();
        }
        let mut answer = [0; 1500];
        let (length, _) = wait_for("an answer", || {
            socket.send_to(&request(transaction), ("127.0.0.1", port)).unwrap();
            let (length, from) = socket.recv_from(&mut answer).ok()?;
            (from.port() == port).then_some(length)
        });
        assert_eq!(read_answer(&answer[..length]), Some((transaction, own)));
    }
}

#[test]
fn a_port_that_is_taken_is_said() {
    let house = House::made("taken");
    let taken = socket();
    let at = taken.local_addr().unwrap().to_string();
    let end = house.look(&["serve"], &["--listen", "127.0.0.1:0", "--stun", &at]);
    assert!(!end.status.success(), "{}", text(&end));
    assert!(
        text(&end).contains("is another program using it? Choose two ports with --stun"),
        "{}",
        text(&end)
    );
    let three = "127.0.0.1:0,127.0.0.1:0,127.0.0.1:0";
    let end = house.look(&["serve"], &["--listen", "127.0.0.1:0", "--stun", three]);
    assert!(text(&end).contains("two ports at most"), "{}", text(&end));
}
