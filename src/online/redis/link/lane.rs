//! The fast way to read: `MGET` on a connection of its own, answered with the bytes as they came.
//!
//! Serving reads hundreds of rows in a request. The redis crate makes a value of its own of each of them, at 250 to
//! 350 ns a row. Here a reply stays one run of bytes, with the places of its values beside it, and rows are decoded
//! straight from there. Everything else, and everything that is not answered with values (redirections, refusals), goes
//! through the crate.
//!
//! One task owns the socket. It sends whatever has been asked since it last looked in one go, and gives every reply to
//! whoever asked, in order. It ends when the socket does, or when the last [`Lane`] is dropped; whoever still waits
//! hears of it at once.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use crate::limits::{REDIS_QUEUE_MAX, STORED_READ_BYTES_MAX};

/// Bytes that one look at the socket may bring.
const READ_BYTES: usize = 64 << 10;

/// Some `MGET`s in the bytes of the wire.
#[derive(Debug, Default)]
pub(in super::super) struct Gets {
    bytes: Vec<u8>,
    /// Keys of each command.
    keys: Vec<usize>,
}

/// What the commands of one [`Gets`] were answered with.
#[derive(Debug)]
pub(in super::super) struct Values {
    bytes: Bytes,
    /// Of the values of all commands, one after another. A command that was refused has none.
    places: Vec<Place>,
    /// For each command the range of its values in `places`, or its error as it came, such as `MOVED 7 host:1`.
    commands: Vec<Result<Range<usize>, Range<usize>>>,
}

/// Where a value stands in the bytes of its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Nil,
    At { start: usize, end: usize },
}

/// Asks on the connection. Cloning shares it.
#[derive(Clone, Debug)]
pub(in super::super) struct Lane {
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    gets: Gets,
    answer: oneshot::Sender<Values>,
}

impl Gets {
    /// Beside the key itself: its length, and the ends of two lines.
    pub const BYTES_PER_KEY: usize = 10;

    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), keys: Vec::with_capacity(1) }
    }

    /// The next command has so many keys, which follow.
    pub fn begin(&mut self, keys: usize) {
        self.keys.push(keys);
        self.header(b'*', keys + 1);
        self.bytes.extend_from_slice(b"$4\r\nMGET\r\n");
    }

    pub fn key(&mut self, key: &[u8]) {
        self.header(b'$', key.len());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn header(&mut self, kind: u8, number: usize) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }
}

impl Values {
    /// The values of one command in key order, or the error that it was refused with.
    pub fn of(&self, command: usize) -> Result<impl ExactSizeIterator<Item = Option<&[u8]>>, &[u8]> {
        match &self.commands[command] {
            Ok(places) => Ok(self.places[places.clone()].iter().map(|place| match place {
                Place::Nil => None,
                Place::At { start, end } => Some(&self.bytes[*start..*end]),
            })),
            Err(error) => Err(&self.bytes[error.clone()]),
        }
    }
}

/// Connects, and sends `commands` (a login, a database), each of which must be answered with OK.
pub(super) async fn open(host: &str, port: u16, commands: &[Vec<u8>]) -> io::Result<Lane> {
    const OK: &[u8] = b"+OK\r\n";
    let mut socket = TcpStream::connect((host, port)).await?;
    socket.set_nodelay(true)?;
    for command in commands {
        socket.write_all(command).await?;
        let mut answer = [0; OK.len()];
        socket.read_exact(&mut answer).await?;
        if answer != OK {
            return Err(unexpected("a refusal"));
        }
    }
    Ok(Lane::over(socket))
}

impl Lane {
    /// Takes over a connection on which nothing is being asked.
    fn over(socket: TcpStream) -> Self {
        let (requests, asked) = mpsc::channel(REDIS_QUEUE_MAX);
        tokio::spawn(async move {
            let mut traffic =
                Traffic { socket, out: BytesMut::new(), waiting: VecDeque::new(), reply: Reply::default() };
            if let Err(error) = traffic.run(asked).await {
                tracing::debug!(%error, "a reading connection to Redis ended");
            }
        });
        Self { requests }
    }

    /// Sends the commands and waits for all of their answers; none where the connection has ended.
    pub async fn ask(&self, gets: Gets) -> Option<Values> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request { gets, answer }).await.ok()?;
        answered.await.ok()
    }
}

/// The socket and what is on its way.
struct Traffic {
    socket: TcpStream,
    out: BytesMut,
    /// The commands that were sent, and who waits for them.
    waiting: VecDeque<(Vec<usize>, oneshot::Sender<Values>)>,
    reply: Reply,
}

impl Traffic {
    async fn run(&mut self, mut asked: mpsc::Receiver<Request>) -> io::Result<()> {
        loop {
            let interest = match self.out.is_empty() {
                true => Interest::READABLE,
                false => Interest::READABLE | Interest::WRITABLE,
            };
            tokio::select! {
                request = asked.recv() => match request {
                    Some(request) => self.take(request),
                    None => return Ok(()),
                },
                ready = self.socket.ready(interest) => {
                    if ready?.is_readable() {
                        self.read()?;
                    }
                }
            }
            while let Ok(request) = asked.try_recv() {
                self.take(request);
            }
            self.write()?;
        }
    }

    fn take(&mut self, Request { gets, answer }: Request) {
        self.out.extend_from_slice(&gets.bytes);
        self.waiting.push_back((gets.keys, answer));
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.socket.try_write(&self.out) {
                Ok(written) => drop(self.out.split_to(written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<()> {
        self.reply.bytes.reserve(READ_BYTES);
        match self.socket.try_read_buf(&mut self.reply.bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        while let Some((keys, _)) = self.waiting.front()
            && let Some(values) = self.reply.next(keys)?
            && let Some((_, answer)) = self.waiting.pop_front()
        {
            // Whoever asked may have given up meanwhile.
            let _ = answer.send(values);
        }
        match self.waiting.is_empty() && !self.reply.bytes.is_empty() {
            true => Err(unexpected("bytes that nobody asked for")),
            false => Ok(()),
        }
    }
}

/// The reply that is coming in: how far it has been read, and what was found so far.
#[derive(Debug, Default)]
struct Reply {
    bytes: BytesMut,
    at: usize,
    /// Values that the array still owes.
    owed: usize,
    places: Vec<Place>,
    commands: Vec<Result<Range<usize>, Range<usize>>>,
}

impl Reply {
    /// The answer to commands of so many keys each, once it is there as a whole.
    fn next(&mut self, keys: &[usize]) -> io::Result<Option<Values>> {
        while self.commands.len() < keys.len() || self.owed > 0 {
            if !self.step(keys)? {
                return Ok(None);
            }
        }
        let bytes = self.bytes.split_to(std::mem::take(&mut self.at)).freeze();
        let room = self.places.len();
        let places = std::mem::replace(&mut self.places, Vec::with_capacity(room));
        Ok(Some(Values { bytes, places, commands: std::mem::take(&mut self.commands) }))
    }

    /// Reads the next line, and the value that it announces; false where that has not come yet.
    fn step(&mut self, keys: &[usize]) -> io::Result<bool> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return match self.bytes.len() > STORED_READ_BYTES_MAX {
                true => Err(unexpected("a line without an end")),
                false => Ok(false),
            };
        };
        let [kind, line @ .., b'\r'] = &rest[..end] else { return Err(unexpected("a line without a beginning")) };
        let after = self.at + end + 1;
        match (kind, self.owed) {
            (b'-', 0) => {
                self.commands.push(Err(self.at + 1..after - 2));
                self.at = after;
            }
            (b'*', 0) => {
                if number(line) != Some(keys[self.commands.len()]) {
                    return Err(unexpected("another number of values"));
                }
                self.owed = keys[self.commands.len()];
                self.commands.push(Ok(self.places.len()..self.places.len() + self.owed));
                self.at = after;
            }
            (b'$', 1..) if line == b"-1" => self.found(Place::Nil, after),
            (b'$', 1..) => {
                let length = number(line).filter(|length| *length <= STORED_READ_BYTES_MAX);
                let value = after..after + length.ok_or_else(|| unexpected("a value of no length"))?;
                match self.bytes.get(value.end..value.end + 2) {
                    None => return Ok(false),
                    Some(b"\r\n") => self.found(Place::At { start: value.start, end: value.end }, value.end + 2),
                    Some(_) => return Err(unexpected("a value of another length")),
                }
            }
            _ => return Err(unexpected("something else than values")),
        }
        Ok(true)
    }

    fn found(&mut self, place: Place, after: usize) {
        self.places.push(place);
        self.owed -= 1;
        self.at = after;
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    str::from_utf8(digits).ok()?.parse().ok()
}

fn unexpected(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("Redis answered with {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(bytes: &[u8]) -> Reply {
        Reply { bytes: BytesMut::from(bytes), ..Reply::default() }
    }

    #[test]
    fn commands_have_the_bytes_of_the_protocol() {
        let mut gets = Gets::default();
        gets.begin(2);
        gets.key(b"one");
        gets.key(b"");
        assert_eq!(gets.bytes, b"*3\r\n$4\r\nMGET\r\n$3\r\none\r\n$0\r\n\r\n");
        assert_eq!(gets.keys, [2]);
    }

    #[test]
    fn a_reply_is_read_only_when_it_is_whole() {
        let whole = b"*3\r\n$3\r\na\r\n\r\n$-1\r\n$0\r\n\r\n-MOVED 7 127.0.0.1:1\r\n*0\r\n";
        let keys = [3, 9, 0];
        for cut in 0..whole.len() {
            let mut reply = reply(&whole[..cut]);
            assert!(reply.next(&keys).unwrap().is_none(), "{cut}");
            reply.bytes.extend_from_slice(&whole[cut..]);
            let values = reply.next(&keys).unwrap().unwrap();
            let first: Vec<Option<&[u8]>> = values.of(0).unwrap().collect();
            assert_eq!(first, [Some(&b"a\r\n"[..]), None, Some(&b""[..])]);
            assert_eq!(values.of(1).err(), Some(&b"MOVED 7 127.0.0.1:1"[..]));
            assert_eq!(values.of(2).unwrap().len(), 0);
            assert!(reply.bytes.is_empty());
        }
    }

    #[test]
    fn replies_that_follow_each_other_are_told_apart() {
        let mut reply = reply(b"*1\r\n$1\r\na\r\n*2\r\n$1\r\nb\r\n$1\r\nc\r\n*1\r\n");
        let values = |values: &Values| values.of(0).unwrap().flatten().map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(values(&reply.next(&[1]).unwrap().unwrap()), [b"a"]);
        assert_eq!(values(&reply.next(&[2]).unwrap().unwrap()), [b"b", b"c"]);
        assert!(reply.next(&[1]).unwrap().is_none());
    }

    #[test]
    fn what_is_no_answer_to_the_question_ends_the_connection() {
        for wrong in [
            &b"*2\r\n"[..],
            b"+OK\r\n",
            b":1\r\n",
            b"$1\r\na\r\n",
            b"*1\r\n*1\r\n",
            b"*1\r\n-ERR\r\n",
            b"*1\r\n$x\r\n",
            b"*1\r\n$-2\r\n",
            b"*1\r\n$99999999999\r\n",
            b"*1\r\n$1\r\nabc",
            b"*1\n",
            b"\n",
        ] {
            assert!(reply(wrong).next(&[1]).is_err(), "{:?}", String::from_utf8_lossy(wrong));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_from_outside_make_it_panic(bytes in prop::collection::vec(prop::sample::select(b"*$-+:0123456789\r\na".to_vec()), 0..64)) {
            let mut reply = reply(&bytes);
            while let Ok(Some(_)) = reply.next(&[1, 2]) {}
        }

        #[test]
        fn values_come_back_as_they_were_sent(values in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..50)), 0..20), cut in 0..400_usize) {
            let mut bytes = format!("*{}\r\n", values.len()).into_bytes();
            for value in &values {
                match value {
                    None => bytes.extend_from_slice(b"$-1\r\n"),
                    Some(value) => {
                        bytes.extend_from_slice(format!("${}\r\n", value.len()).as_bytes());
                        bytes.extend_from_slice(value);
                        bytes.extend_from_slice(b"\r\n");
                    }
                }
            }
            let cut = cut.min(bytes.len());
            let mut reply = reply(&bytes[..cut]);
            let early = reply.next(&[values.len()]).unwrap();
            prop_assert_eq!(early.is_some(), cut == bytes.len());
            reply.bytes.extend_from_slice(&bytes[cut..]);
            let found = match early {
                Some(found) => found,
                None => reply.next(&[values.len()]).unwrap().unwrap(),
            };
            let found: Vec<Option<Vec<u8>>> = found.of(0).unwrap().map(|value| value.map(<[u8]>::to_vec)).collect();
            prop_assert_eq!(found, values);
        }
    }
}
