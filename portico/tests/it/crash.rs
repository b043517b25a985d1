//! Rounds of kill -9 under load: what was acknowledged is there with its event, what was not is
//! there once or not at all, and nothing else is. The clients' knowledge is compared with what the
//! restarted server says at its door. Not for power loss, which the unsynced test is for: a killed
//! process leaves what it wrote to the kernel.
//!
//! `PORTICO_CRASH_ROUNDS` says how many rounds (8 unless said), `PORTICO_CRASH_SEED` repeats the
//! choices of a run; the moments of the kills depend on the machine too.

mod book;
mod control;
pub mod load;
mod verify;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::fresh_database::{FreshDatabase, execute};
use crate::process::{Installation, Server, environment};
use book::{Book, Deed, Fate};
use load::{Dice, Round};
use verify::{Event, Fault, Found, Line, Log, Row};

const ROUNDS: u64 = 8;
/// How long events may take to become readable after a restart.
const EVENTS_LIMIT: Duration = Duration::from_secs(15);
/// How long a round may take to get its acknowledgements.
const LOAD_LIMIT: Duration = Duration::from_secs(60);
/// How many connections read at a time.
const READERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_sqlite() {
    Run::new("sqlite", Installation::new()).all_rounds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_postgres() {
    let Some(database) = FreshDatabase::create().await else {
        return;
    };
    let installation = Installation::new().set("store.url", &database.url());
    Run::new("postgres", installation).all_rounds().await;
}

/// The control: what somebody takes away behind the server's back is reported as lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_control_sees_what_was_taken_away() {
    let mut run = Run::new("control", Installation::new());
    let mut server = run.first_start().await;
    for round in 1..=3 {
        server = run.round(round, server).await;
    }
    assert_eq!(run.faults, BTreeSet::new());
    server.stop().await;
    // The oldest were acknowledged for certain; of the newest somebody may still have waited.
    let oldest = |table: &str, of: &str| {
        format!("DELETE FROM {table} WHERE rowid = (SELECT min(rowid) FROM {table} WHERE {of});")
    };
    let url = run.installation.sqlite_url();
    let (line, event) = (oldest("inventory_movement", "true"), oldest("event_log", "kind = 'inventory.item.created'"));
    execute(&url, &(line + &event)).await;
    let server = run.installation.start().await;
    let (faults, _) = run.check_everything(&server).await;
    let losses = faults.iter().filter(|fault| fault.is_loss()).count();
    assert_eq!(losses, 2, "{faults:#?}");
    println!("control: 2 things taken away, lost 2");
}

/// A run on one engine.
struct Run {
    name: &'static str,
    installation: Installation,
    seed: u64,
    dice: Dice,
    token: Arc<str>,
    book: Book,
    log: Log,
    /// A set, since the same loss shows in more than one comparison.
    faults: BTreeSet<Fault>,
    unanswered: u64,
    found_done: u64,
    killed_while_starting: u64,
    slowest_start: Duration,
    began: Instant,
}

impl Run {
    fn new(name: &'static str, installation: Installation) -> Self {
        let given = environment("PORTICO_CRASH_SEED").and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(name) >> 16);
        println!("crash {name}: PORTICO_CRASH_SEED={seed}");
        Self {
            name,
            installation,
            seed,
            dice: Dice::new(seed),
            token: "".into(),
            book: Book::default(),
            log: Log::default(),
            faults: BTreeSet::new(),
            unanswered: 0,
            found_done: 0,
            killed_while_starting: 0,
            slowest_start: Duration::ZERO,
            began: Instant::now(),
        }
    }

    async fn all_rounds(mut self) {
        let wanted = environment("PORTICO_CRASH_ROUNDS").map(|text| text.parse().expect("a number"));
        let rounds: u64 = wanted.unwrap_or(ROUNDS);
        let mut server = self.first_start().await;
        for number in 1..=rounds {
            server = self.round(number, server).await;
            if number % 25 == 0 {
                self.print(number);
            }
            assert_eq!(self.faults, BTreeSet::new(), "round {number}, seed {}", self.seed);
        }
        let (faults, log) = self.check_everything(&server).await;
        self.faults.extend(faults);
        // An event that appeared behind a position that had been read would be missing from ours.
        assert_eq!(self.log.events, log.events, "the log as it was followed and as it is");
        self.print(rounds);
        assert_eq!(self.faults, BTreeSet::new(), "seed {}", self.seed);
        assert_eq!(self.book.strange, [""; 0], "answers without a reason, seed {}", self.seed);
        server.stop().await;
    }

    fn print(&self, rounds: u64) {
        let lost = self.faults.iter().filter(|fault| fault.is_loss()).count();
        println!(
            "crash {}: {rounds} rounds, {} acknowledged writes, {} unanswered ({} of them were done), {} turned away, \
             {} more kills while starting, {} items, {} events, lost {lost}, wrong {}, slowest start to first answer {} ms, {:.0} s",
            self.name,
            self.book.acknowledged,
            self.unanswered,
            self.found_done,
            self.book.turned_away,
            self.killed_while_starting,
            self.book.entries.len(),
            self.log.events.len(),
            self.faults.len() - lost,
            self.slowest_start.as_millis(),
            self.began.elapsed().as_secs_f64(),
        );
    }

    async fn first_start(&mut self) -> Server {
        let server = self.installation.start().await;
        self.token = server.sign_in().await;
        server
    }

    /// Loads, kills, starts again, and compares what this round touched.
    async fn round(&mut self, number: u64, mut server: Server) -> Server {
        let book = std::mem::take(&mut self.book);
        let round = Round::new(number, server.address, self.token.clone(), book, &mut self.dice);
        let round = Arc::new(round);
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..self.dice.between(6, 9) as u64 {
            let (round, dice) = (round.clone(), Dice::new(self.dice.next()));
            clients.spawn(async move { round.work(client, dice).await });
        }
        let (followed, after) = (round.clone(), self.log.last_position());
        let follower = tokio::spawn(async move { followed.follow(after).await });

        // Every fifth round ends almost at once, so that the first writes after a start are met too.
        let most = if self.dice.between(0, 5) == 0 { 8 } else { 240 };
        let enough = round.acknowledged(self.dice.between(1, most) as u64);
        tokio::time::timeout(LOAD_LIMIT, enough).await.expect("the load goes on");
        // Anywhere in the work that goes on, not only right behind an acknowledgement.
        tokio::time::sleep(Duration::from_micros(self.dice.between(0, 4_000) as u64)).await;
        server.kill();
        while let Some(ended) = clients.join_next().await {
            ended.expect("no client panics");
        }
        let seen = follower.await.expect("the follower does not panic");
        let round = Arc::into_inner(round).expect("its clients have ended");
        let (book, touched) = round.close();
        self.book = book;

        let server = self.start_again().await;
        self.settle(&server, &touched).await;
        self.check_followed(&seen);
        server
    }

    /// Starts the server again; now and then it is killed once more before it is ready.
    async fn start_again(&mut self) -> Server {
        if self.dice.between(0, 8) == 0 {
            let mut doomed = self.installation.launch("127.0.0.1:0");
            tokio::time::sleep(Duration::from_millis(self.dice.between(0, 60) as u64)).await;
            doomed.kill();
            self.killed_while_starting += 1;
        }
        let server = self.installation.start().await;
        self.slowest_start = self.slowest_start.max(server.first_answer);
        server
    }

    /// Compares, sends what had no answer again under its key, and compares once more.
    async fn settle(&mut self, server: &Server, touched: &BTreeSet<String>) {
        let mut found = self.read_items(server, touched.iter().cloned()).await;
        for sku in touched {
            let faults = verify::check_unsettled(sku, &self.book.entries[sku], found.get(sku));
            self.faults.extend(faults);
        }
        let open = self.book.unanswered();
        self.unanswered += open.len() as u64;
        let mut connection = server.connect(Some(&self.token)).await;
        for (sku, place) in &open {
            self.send_again(&mut connection, sku, *place, found.get(sku)).await;
        }
        let again: BTreeSet<String> = open.into_iter().map(|(sku, _)| sku).collect();
        found.extend(self.read_items(server, again.into_iter()).await);

        let operations = touched.iter().flat_map(|sku| &self.book.entries[sku].operations);
        let told: Vec<String> = operations
            .filter(|operation| operation.is_acknowledged())
            .map(|operation| operation.request_id())
            .collect();
        let began = Instant::now();
        loop {
            read_log(&mut connection, &mut self.log).await;
            // Those that are still missing then are reported below; of what is lost there will be none.
            let limit = if self.faults.is_empty() { EVENTS_LIMIT } else { Duration::ZERO };
            if told.iter().all(|id| self.log.has_request(id)) || began.elapsed() > limit {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.faults.extend(self.log.faults.drain(..));
        for sku in touched {
            let entry = &self.book.entries[sku];
            let faults = verify::check_settled(sku, entry, found.get(sku), &self.log);
            self.faults.extend(faults);
        }
    }

    async fn send_again(&mut self, connection: &mut Client, sku: &str, place: usize, found: Option<&Found>) {
        let entry = &self.book.entries[sku];
        let operation = entry.operations[place].clone();
        let seen = match operation.deed {
            Deed::Create => found.is_some(),
            Deed::Adjust { .. } => {
                found.is_some_and(|found| found.ledger.iter().any(|line| line.note == operation.key))
            }
            _ => false,
        };
        let id = entry.id.clone();
        let request_id = format!("{}.again", operation.key);
        let sent = load::send(connection, &operation, id.as_deref(), &request_id).await;
        let answer = sent.expect("nobody kills this server");
        let replayed = answer.headers.contains_key("idempotency-replayed");
        let mut wrong = |told: &str| {
            let body = String::from_utf8_lossy(&answer.body);
            let told = format!("{} {told}: sent again it was answered {} {body}", operation.key, answer.status);
            self.faults.insert(Fault::Wrong(told));
        };
        if seen && !replayed {
            wrong("was there");
        }
        self.book.end(sku, place, &answer);
        let entry = self.book.entries.get_mut(sku).expect("it is in the book");
        let operation = &mut entry.operations[place];
        operation.done_late = !replayed;
        self.found_done += u64::from(replayed);
        if operation.fate == Fate::Unanswered {
            wrong("did not converge");
        }
    }

    /// What a reader saw before the kill is still there, at the same position.
    fn check_followed(&mut self, seen: &Log) {
        self.faults.extend(seen.faults.iter().cloned());
        let kept: HashMap<i64, &Event> = self.log.events.iter().map(|event| (event.position, event)).collect();
        for event in seen.events.iter().filter(|event| kept.get(&event.position) != Some(event)) {
            self.faults.insert(Fault::Lost(format!("a reader had seen {event:?}")));
        }
    }

    /// Reads and compares everything from the beginning.
    async fn check_everything(&self, server: &Server) -> (Vec<Fault>, Log) {
        let mut connection = server.connect(Some(&self.token)).await;
        let (mut log, mut rows) = (Log::default(), BTreeMap::new());
        read_log(&mut connection, &mut log).await;
        let path = "/api/inventory?includeDeleted=true&limit=200&sort=createdAt";
        for item in connection.pages(path).await {
            let sku = item["sku"].as_str().expect("a SKU").to_owned();
            rows.insert(sku, Row::read(&item));
        }
        let found = self.read_items(server, rows.keys().cloned()).await;
        let mut faults = std::mem::take(&mut log.faults);
        for (sku, entry) in &self.book.entries {
            faults.extend(verify::check_settled(sku, entry, found.get(sku), &log));
        }
        faults.extend(verify::check_strangers(&self.book, &rows, &log));
        (faults, log)
    }

    /// Reads these items with their ledgers, over a few connections.
    async fn read_items(&self, server: &Server, skus: impl Iterator<Item = String>) -> BTreeMap<String, Found> {
        let mut shares: Vec<Vec<(String, Option<String>)>> = vec![Vec::new(); READERS];
        for (number, sku) in skus.enumerate() {
            let id = self.book.entries.get(&sku).and_then(|entry| entry.id.clone());
            shares[number % READERS].push((sku, id));
        }
        let mut readers = tokio::task::JoinSet::new();
        for share in shares {
            let mut connection = server.connect(Some(&self.token)).await;
            readers.spawn(async move {
                let mut found = Vec::new();
                for (sku, id) in share {
                    let item = read_item(&mut connection, &sku, id.as_deref()).await;
                    found.extend(item.map(|item| (sku, item)));
                }
                found
            });
        }
        readers.join_all().await.into_iter().flatten().collect()
    }
}

async fn read_item(connection: &mut Client, sku: &str, id: Option<&str>) -> Option<Found> {
    let mut row = None;
    if let Some(id) = id {
        let answer = connection.get(&format!("/api/inventory/{id}")).await;
        row = (answer.status == 200).then(|| Row::read(&answer.data()));
    }
    if row.is_none() {
        let path = format!("/api/inventory?sku={sku}&includeDeleted=true");
        let page = connection.get(&path).await.expect(200).data();
        row = page["items"].as_array().and_then(|items| items.first()).map(Row::read);
    }
    let row = row?;
    let path = format!("/api/inventory/{}/logs?limit=200", row.id);
    let ledger = connection.pages(&path).await.iter().map(Line::read).collect();
    Some(Found { row, ledger })
}

/// Reads on in the log as far as it goes.
async fn read_log(connection: &mut Client, log: &mut Log) {
    loop {
        let path = format!("/api/events?limit=200&after={}", log.last_position());
        let page = connection.get(&path).await.expect(200).json();
        for event in page["items"].as_array().into_iter().flatten() {
            log.add(Event::read(event));
        }
        if page["next"].is_null() {
            return;
        }
    }
}
