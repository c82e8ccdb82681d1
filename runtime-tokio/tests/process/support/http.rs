//! A plain HTTP client: one connection a request, nothing hidden.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::PATIENCE;

/// The API of one gate.
#[derive(Clone)]
pub struct Http {
    port: u16,
    token: Option<String>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value; empty where it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `Null` where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Http {
    pub fn new(port: u16) -> Self {
        Self { port, token: None }
    }

    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    #[must_use]
    pub fn without_token(mut self) -> Self {
        self.token = None;
        self
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// `None` where nothing answers.
    pub fn try_get(&self, path: &str) -> Option<Answer> {
        self.try_send("GET", path, &[], b"")
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.ask(method, path, headers, body).unwrap()
    }

    /// `None` where no whole answer comes.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        self.ask(method, path, headers, body).ok()
    }

    /// Asks until the answer is right.
    pub fn until(&self, path: &str, is_right: impl Fn(&Answer) -> bool) -> Answer {
        let begun = Instant::now();
        loop {
            let answer = self.get(path);
            if is_right(&answer) {
                return answer;
            }
            assert!(begun.elapsed() < PATIENCE, "{path}: {answer:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Opens a stream and reads its head and first piece; it lasts as long as what is returned.
    pub fn stream(&self, path: &str) -> BufReader<TcpStream> {
        let mut stream = self.open("GET", path, &[], b"").unwrap();
        let (status, _) = head(&mut stream).unwrap();
        assert_eq!(status, 200, "{path}");
        next_chunk(&mut stream).unwrap().expect("a job has at least one event");
        stream
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let mut stream = self.open(method, path, headers, body)?;
        let (status, headers) = head(&mut stream)?;
        let mut answer = Answer { status, headers, body: Vec::new() };
        if answer.header("transfer-encoding") == "chunked" {
            while let Some(chunk) = next_chunk(&mut stream)? {
                answer.body.extend(chunk);
            }
        } else {
            stream.read_to_end(&mut answer.body)?;
        }
        Ok(answer)
    }

    fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<BufReader<TcpStream>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n");
        if let Some(token) = &self.token {
            text += &format!("Authorization: Bearer {token}\r\n");
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        text += "\r\n";
        // A refusal may come, and the connection close, before the whole body is taken.
        let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.write_all(body));
        Ok(BufReader::new(stream))
    }
}

fn head(stream: &mut impl BufRead) -> std::io::Result<(u16, Vec<(String, String)>)> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or(std::io::ErrorKind::InvalidData)?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => return Ok((status, headers)),
        }
    }
}

/// The next chunk of a body; `None` at its end.
fn next_chunk(stream: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let length = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
    let mut chunk = vec![0; length];
    stream.read_exact(&mut chunk)?;
    stream.read_line(&mut line)?;
    Ok((length > 0).then_some(chunk))
}
