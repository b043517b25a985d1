//! Many connections that only listen, all on one thread of ours: opening them, counting what they
//! hear, closing them. Not for what it costs the server.

use std::cell::RefCell;
use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kernel::Clock;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::LocalSet;

use super::speech::{Hearing, Visitor};
use crate::Outcome;

/// How many are opened at the same time.
const AT_ONCE: usize = 64;
/// How long all of them may take to open.
const PATIENCE: Duration = Duration::from_secs(180);
/// How many connections share an address of this machine.
const PER_ADDRESS: usize = 5_000;
const CHUNK: usize = 64 * 1024;

/// Some bytes of one connection, and when they came, in microseconds since 1970.
#[derive(Debug)]
pub struct Piece {
    pub visitor: usize,
    pub at: i64,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Counts {
    open: AtomicU64,
    closed: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
}

/// The connections; dropping this closes them.
pub struct Crowd {
    counts: Arc<Counts>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Opens a connection for each visitor, and waits until all are open. What they hear goes to
    /// `pieces`, where that is given.
    pub fn gather(
        address: SocketAddr,
        visitors: Vec<Visitor>,
        pieces: Option<mpsc::UnboundedSender<Piece>>,
    ) -> Outcome<Self> {
        let (counts, wanted) = (Arc::<Counts>::default(), visitors.len() as u64);
        let (stop, stopped) = watch::channel(false);
        let (failed, failures) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let counted = counts.clone();
        let thread = std::thread::Builder::new().name("crowd".to_owned()).spawn(move || {
            let shared = Rc::new(Shared {
                address,
                counts: counted,
                opening: Semaphore::new(AT_ONCE),
                scratch: RefCell::new(vec![0; CHUNK]),
                clock: Clock::system(),
                pieces,
                failed,
            });
            let mut stopped = stopped;
            LocalSet::new().block_on(&runtime, async {
                for (number, visitor) in visitors.into_iter().enumerate() {
                    let shared = shared.clone();
                    tokio::task::spawn_local(async move { shared.visit(number, &visitor).await });
                }
                let _ = stopped.wait_for(|stop| *stop).await;
            });
        })?;
        let crowd = Self { counts, stop, thread: Some(thread) };
        let began = Instant::now();
        while crowd.counts.open.load(Ordering::Relaxed) < wanted {
            if let Ok(reason) = failures.try_recv() {
                return Err(format!("{} of {wanted} connections are open: {reason}", crowd.open()).into());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("only {} of {wanted} connections are open", crowd.open()).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(crowd)
    }

    /// Returns how many connections have been opened.
    pub fn open(&self) -> u64 {
        self.counts.open.load(Ordering::Relaxed)
    }

    /// Returns how many the server has closed.
    pub fn closed(&self) -> u64 {
        self.counts.closed.load(Ordering::Relaxed)
    }

    /// Returns how many events all of them have heard.
    pub fn events(&self) -> u64 {
        self.counts.events.load(Ordering::Relaxed)
    }

    /// Returns how many bytes all of them have heard.
    pub fn bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Relaxed)
    }

    /// Waits until so many events have been heard, and says how many there are by then.
    pub fn wait_for(&self, events: u64, limit: Duration) -> u64 {
        let began = Instant::now();
        while self.events() < events && began.elapsed() < limit {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.events()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the connections of one thread share.
struct Shared {
    address: SocketAddr,
    counts: Arc<Counts>,
    opening: Semaphore,
    scratch: RefCell<Vec<u8>>,
    clock: Clock,
    pieces: Option<mpsc::UnboundedSender<Piece>>,
    failed: std::sync::mpsc::Sender<String>,
}

impl Shared {
    async fn visit(&self, number: usize, visitor: &Visitor) {
        let place = self.opening.acquire().await;
        let mut opened = match self.enter(number, visitor).await {
            Ok(opened) => opened,
            Err(error) => {
                let _ = self.failed.send(error.to_string());
                return;
            }
        };
        self.counts.open.fetch_add(1, Ordering::Relaxed);
        drop(place);
        let error = loop {
            if let Err(error) = self.listen(number, visitor, &mut opened).await {
                break error;
            }
        };
        self.counts.closed.fetch_add(1, Ordering::Relaxed);
        let _ = self.failed.send(format!("a connection ended: {error}"));
    }

    /// Opens a connection and waits until the server has let it in.
    async fn enter(&self, number: usize, visitor: &Visitor) -> Result<Opened, Error> {
        let socket = TcpSocket::new_v4()?;
        // 28,000 ports are all that an address has.
        socket.bind((Ipv4Addr::new(127, 0, 1, 1 + (number / PER_ADDRESS) as u8), 0).into())?;
        let mut stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&visitor.request).await?;
        let mut head = Vec::new();
        let end = loop {
            self.read(&stream, |bytes| head.extend_from_slice(bytes)).await?;
            if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
        };
        let status = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u16>().ok());
        if status != Some(visitor.welcome()) {
            return Err(Error::other(format!("answered {}", String::from_utf8_lossy(&head))));
        }
        let mut opened = Opened { stream, hearing: Hearing::default(), joined: false };
        // The end of the head is one end of a line for the first event.
        self.understand(number, visitor, &mut opened, &head[end + 3..]).await?;
        while visitor.speech == super::speech::Speech::SocketIo && !opened.joined {
            self.listen(number, visitor, &mut opened).await?;
        }
        Ok(opened)
    }

    async fn listen(&self, number: usize, visitor: &Visitor, opened: &mut Opened) -> Result<(), Error> {
        let mut heard = None;
        self.read(&opened.stream, |bytes| {
            self.note(number, bytes);
            heard = Some(opened.hearing.hear(visitor, bytes));
        })
        .await?;
        self.answer(opened, heard.unwrap_or_default()).await
    }

    async fn understand(
        &self,
        number: usize,
        visitor: &Visitor,
        opened: &mut Opened,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let bytes = if visitor.welcome() == 101 { &bytes[1..] } else { bytes };
        self.note(number, bytes);
        let heard = opened.hearing.hear(visitor, bytes);
        self.answer(opened, heard).await
    }

    fn note(&self, visitor: usize, bytes: &[u8]) {
        self.counts.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if let Some(pieces) = &self.pieces {
            let _ = pieces.send(Piece { visitor, at: self.clock.now().0, bytes: bytes.to_vec() });
        }
    }

    async fn answer(&self, opened: &mut Opened, heard: super::speech::Heard) -> Result<(), Error> {
        self.counts.events.fetch_add(heard.events, Ordering::Relaxed);
        opened.joined |= heard.joined;
        if !heard.reply.is_empty() {
            opened.stream.write_all(&heard.reply).await?;
        }
        if heard.closed { Err(Error::new(ErrorKind::ConnectionAborted, "the server said goodbye")) } else { Ok(()) }
    }

    /// Reads what there is, once there is something; all connections share one buffer.
    async fn read(&self, stream: &TcpStream, take: impl FnOnce(&[u8])) -> Result<(), Error> {
        loop {
            stream.readable().await?;
            let mut scratch = self.scratch.borrow_mut();
            match stream.try_read(&mut scratch) {
                Ok(0) => return Err(Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
                Ok(count) => {
                    take(&scratch[..count]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// One open connection.
struct Opened {
    stream: TcpStream,
    hearing: Hearing,
    joined: bool,
}
