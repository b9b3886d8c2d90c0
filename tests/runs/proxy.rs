//! A proxy between a run and its cluster: it writes down every request with its answer, and ends the run at a request
//! that the test chooses.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};

use serde_json::Value;

/// A request and its answer as they passed.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    pub method: String,
    pub path: String,
    pub body: Value,
    /// Whether it reached the server.
    pub forwarded: bool,
    /// Whether its answer may have missed the run, because that was killed.
    pub lost: bool,
    pub status: u16,
    /// The answer, unless it is a watch.
    pub answer: Value,
}

impl Exchange {
    /// Whether it can change something.
    pub fn write(&self) -> bool {
        self.method != "GET" && !self.path.contains("selfsubjectaccessreviews")
    }

    pub fn done(&self) -> bool {
        self.forwarded && (200..300).contains(&self.status)
    }
}

/// At which request a run is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    Never,
    /// The n-th write from 1, before it reaches the server.
    BeforeWrite(usize),
    /// The n-th write from 1, after the server has done it and before the run hears of it.
    AfterWrite(usize),
    /// The n-th request from 1, before it reaches the server.
    BeforeRequest(usize),
}

#[derive(Default)]
struct State {
    log: Vec<Exchange>,
    kill: Option<Kill>,
    victim: Option<u32>,
    killing: bool,
    requests: usize,
    writes: usize,
}

#[derive(Clone)]
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Proxy {
    /// Listens in front of a server.
    pub fn new(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy { address: listener.local_addr().unwrap(), state: Arc::default() };
        let serving = proxy.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), proxy) = (stream, serving.clone()) else { continue };
                std::thread::spawn(move || proxy.connection(stream, server));
            }
        });
        proxy
    }

    /// Counts from the start again; a process whose id comes later is killed as told.
    pub fn arm(&self, kill: Kill) {
        let mut state = self.state.0.lock().unwrap();
        (state.kill, state.victim, state.killing) = (Some(kill), None, false);
        (state.requests, state.writes) = (0, 0);
    }

    /// Says which process is killed.
    pub fn victim(&self, process: u32) {
        self.state.0.lock().unwrap().victim = Some(process);
        self.state.1.notify_all();
    }

    /// Returns what has passed, oldest first.
    pub fn log(&self) -> Vec<Exchange> {
        self.state.0.lock().unwrap().log.clone()
    }

    /// Forgets what has passed.
    pub fn clear(&self) {
        self.state.0.lock().unwrap().log.clear();
    }

    fn connection(&self, client: TcpStream, server: SocketAddr) {
        let _ = client.set_nodelay(true);
        let mut reader = BufReader::new(client.try_clone().unwrap());
        let mut client = client;
        let Ok(mut upstream) = TcpStream::connect(server) else { return };
        let _ = upstream.set_nodelay(true);
        let mut answers = BufReader::new(upstream.try_clone().unwrap());
        while let Some((head, first)) = read_head(&mut reader) {
            let mut words = first.split(' ');
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let mut body = vec![0; length(&head).unwrap_or(0)];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            let exchange = Exchange {
                method: method.to_owned(),
                path: path.to_owned(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
                ..Exchange::default()
            };
            let Some((index, after)) = self.pass(exchange) else {
                let _ = client.shutdown(Shutdown::Both);
                return;
            };
            let sent = upstream.write_all(head.as_bytes()).and_then(|()| upstream.write_all(&body));
            if sent.is_err() {
                return;
            }
            let quiet = after.is_some();
            let told = self.answer(index, &mut answers, &mut client, quiet);
            if let Some(victim) = after {
                kill(victim);
                let _ = client.shutdown(Shutdown::Both);
                return;
            }
            if told.is_none() {
                let _ = upstream.shutdown(Shutdown::Both);
                return;
            }
        }
        let _ = upstream.shutdown(Shutdown::Both);
    }

    /// Notes a request; kills the run instead of letting it pass, or says whom to kill when it has been answered.
    fn pass(&self, mut exchange: Exchange) -> Option<(usize, Option<u32>)> {
        let mut state = self.state.0.lock().unwrap();
        state.requests += 1;
        state.writes += usize::from(exchange.write());
        let (requests, writes, write) = (state.requests, state.writes, exchange.write());
        let kills = match state.kill {
            Some(Kill::BeforeWrite(n)) => write && writes == n,
            Some(Kill::AfterWrite(n)) => write && writes == n,
            Some(Kill::BeforeRequest(n)) => requests == n,
            Some(Kill::Never) | None => false,
        };
        if !kills {
            exchange.forwarded = true;
            exchange.lost = state.killing;
            state.log.push(exchange);
            return Some((state.log.len() - 1, None));
        }
        let mut state = self.state.1.wait_while(state, |state| state.victim.is_none()).unwrap();
        let victim = state.victim.unwrap();
        // Writes that were under way together with this one: so many are sent at once.
        state.log.iter_mut().rev().take(16).filter(|it| it.write()).for_each(|it| it.lost = true);
        exchange.lost = true;
        state.killing = true;
        if matches!(state.kill, Some(Kill::AfterWrite(_))) {
            exchange.forwarded = true;
            state.log.push(exchange);
            return Some((state.log.len() - 1, Some(victim)));
        }
        kill(victim);
        state.log.push(exchange);
        None
    }

    /// Passes an answer on and notes it.
    fn answer(
        &self,
        index: usize,
        answers: &mut BufReader<TcpStream>,
        client: &mut TcpStream,
        quiet: bool,
    ) -> Option<()> {
        let (head, first) = read_head(answers)?;
        let status = first.split(' ').nth(1)?.parse().ok()?;
        let mut tell = |bytes: &[u8]| if quiet { Ok(()) } else { client.write_all(bytes) };
        tell(head.as_bytes()).ok()?;
        let mut body = Vec::new();
        let note = |body: &[u8]| {
            let mut state = self.state.0.lock().unwrap();
            if let Some(exchange) = state.log.get_mut(index) {
                exchange.status = status;
                if let Ok(answer) = serde_json::from_slice(body) {
                    exchange.answer = answer;
                }
            }
        };
        note(&body);
        if let Some(length) = length(&head) {
            body.resize(length, 0);
            answers.read_exact(&mut body).ok()?;
            note(&body);
            return tell(&body).ok();
        }
        loop {
            let mut size = String::new();
            answers.read_line(&mut size).ok().filter(|read| *read > 0)?;
            let length = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut chunk = vec![0; length + 2];
            answers.read_exact(&mut chunk).ok()?;
            body.extend(&chunk[..length]);
            note(&body);
            tell(size.as_bytes()).and_then(|()| tell(&chunk)).ok()?;
            if length == 0 {
                return Some(());
            }
        }
    }
}

fn kill(process: u32) {
    assert!(Command::new("kill").args(["-KILL", &process.to_string()]).status().unwrap().success());
}

/// Reads a head with its empty line; also returns its first line.
fn read_head(from: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok().filter(|read| *read > 0)?;
        head.push_str(&line);
        if line.trim().is_empty() {
            let first = head.lines().next()?.to_owned();
            return Some((head, first));
        }
    }
}

fn length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}

/// Asks a server for an object.
pub fn get(server: SocketAddr, path: &str) -> Value {
    ask(server, "GET", path, "application/json", "")
}

/// Sends a request of its own to a server, past the proxy, and returns the answer.
pub fn ask(server: SocketAddr, method: &str, path: &str, content: &str, body: &str) -> Value {
    let mut stream = TcpStream::connect(server).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: application/json\r\n\
         Content-Type: {content}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).unwrap();
    let mut reader = BufReader::new(stream);
    let (head, _) = read_head(&mut reader).unwrap();
    let mut body = vec![0; length(&head).expect("an object has a length")];
    reader.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}
