use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;

fn get(demo: &Demo, path: &str) -> String {
    let mut stream = TcpStream::connect(demo.addr).expect("a connection");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.lines().next().unwrap_or_default().to_string()
}

#[test]
fn it_answers_and_counts() {
    let demo = Demo::start().expect("a demo target");
    for (path, status) in [
        ("/", "HTTP/1.1 200 OK"),
        ("/hello", "HTTP/1.1 200 OK"),
        ("/fast", "HTTP/1.1 200 OK"),
        ("/slow?ms=1", "HTTP/1.1 200 OK"),
        ("/slow", "HTTP/1.1 400 Bad Request"),
        ("/status/503", "HTTP/1.1 503 Service Unavailable"),
        ("/status/101", "HTTP/1.1 404 Not Found"),
        ("/status/2000", "HTTP/1.1 404 Not Found"),
        ("/nothing", "HTTP/1.1 404 Not Found"),
    ] {
        assert_eq!(get(&demo, path), status, "{path}");
    }
    assert_eq!(demo.served(), 9);
}

#[test]
fn its_latencies_are_worth_looking_at() {
    let waits: Vec<Duration> = (0..1_000).map(hello_wait).collect();
    assert_eq!(waits.iter().filter(|wait| **wait == Duration::from_millis(25)).count(), 20);
    assert!(waits.iter().all(|wait| *wait >= Duration::from_millis(2) && *wait <= Duration::from_millis(25)));
    let mut different = waits;
    different.sort();
    different.dedup();
    assert!(different.len() > 500);
}

#[test]
fn it_stops_when_it_is_dropped() {
    let demo = Demo::start().expect("a demo target");
    let addr = demo.addr;
    drop(demo);
    assert!(TcpStream::connect(addr).is_err());
}
