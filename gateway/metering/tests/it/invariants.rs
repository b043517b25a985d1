//! What holds whatever happens: random streams, splits, aborts, crashes and a ledger that fails now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use kernel::{Clock, Error, Result, TenantId};
use metering::{
    Caller, Ledger, MemoryLedger, Reservation, ReservationId, Spent, Usage, Wanted,
};

use crate::world::{Origin, World, caller_of, next, start};

/// Numbers that look random and are the same each time (xorshift64*).
#[derive(Clone)]
struct Dice(Arc<AtomicU64>);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)))
    }

    fn below(&self, limit: u64) -> u64 {
        let step = |mut state: u64| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state
        };
        let before = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |state| Some(step(state)));
        step(before.unwrap_or(1)).wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }
}

/// A ledger that fails now and then, before it has written or after.
struct Flaky {
    memory: Arc<MemoryLedger>,
    dice: Dice,
}

impl Flaky {
    fn fails(&self) -> Result<()> {
        if self.dice.below(20) == 0 {
            return Err(Error::unavailable("test.flaky", "not now"));
        }
        Ok(())
    }
}

impl Ledger for Flaky {
    fn reserve<'a>(&'a self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Reservation>> {
        self.memory.reserve(wanted)
    }

    fn extend<'a>(&'a self, id: &'a ReservationId, upto: Usage, cost_nano: i64) -> BoxFuture<'a, Result<bool>> {
        async move {
            tokio::task::yield_now().await;
            self.memory.extend(id, upto, cost_nano).await
        }
        .boxed()
    }

    fn settle<'a>(&'a self, id: &'a ReservationId, spent: Spent) -> BoxFuture<'a, Result<()>> {
        async move {
            self.fails()?;
            self.memory.settle(id, spent).await?;
            self.fails()
        }
        .boxed()
    }

    fn release<'a>(&'a self, id: &'a ReservationId) -> BoxFuture<'a, Result<()>> {
        async move {
            self.fails()?;
            self.memory.release(id).await?;
            self.fails()
        }
        .boxed()
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Told {
    exact: u64,
    estimated: u64,
    crashed: u64,
}

const LIMIT: i64 = 40_000;
/// The tokens of one event, by our estimate and by the provider's count.
const PIECE: i64 = 10;

fn event(openai: bool) -> String {
    let text = "word".repeat(10);
    if openai {
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\r\n\r\n")
    } else {
        format!("event: x\ndata: {{\"type\":\"content_block_delta\",\"delta\":{{\"text\":\"{text}\"}}}}\n\n")
    }
}

/// Makes one call, in which anything may happen.
async fn one_call(world: &World, dice: &Dice, caller: &Caller) -> Told {
    let (openai, says, stated) = (dice.below(2) == 0, dice.below(4) > 0, dice.below(2) == 0);
    let most = 10 * i64::try_from(dice.below(40)).expect("small") + 10;
    let limit = if stated { format!(",\"max_tokens\":{most}") } else { String::new() };
    let path = if openai { "/v1/chat/completions" } else { "/v1/messages" };
    let ask = format!("{{\"model\":\"m\",\"stream\":true{limit},\"messages\":[]}}");
    let Ok((_, call)) = world.begin(caller, path, &ask).await else { return Told::default() };
    match dice.below(12) {
        0 => {
            call.release();
            return Told::default();
        }
        1 => {
            // The process is killed: nobody drops anything.
            std::mem::forget(call);
            return Told { crashed: 1, ..Told::default() };
        }
        2 => return Told { estimated: 1, ..Told::default() },
        _ => {}
    }
    let pieces = most / PIECE;
    let used = Usage { input: 3, output: pieces * PIECE, ..Usage::default() };
    let mut stream = event(openai).repeat(usize::try_from(pieces).expect("small"));
    if says && openai {
        stream += &format!(
            "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":3,\"completion_tokens\":{}}}}}\n\ndata: [DONE]\n\n",
            used.output
        );
    } else if says {
        stream += &format!(
            "data: {{\"type\":\"message_delta\",\"usage\":{{\"input_tokens\":3,\"output_tokens\":{}}}}}\n\n",
            used.output
        );
    }
    let (origin, response) = Origin::stream();
    let mut body = call.answer(response).into_body();
    let leaves_after = if dice.below(3) == 0 { dice.below(stream.len() as u64 + 1) } else { u64::MAX };
    let (mut sent, mut bytes, mut whole) = (0_u64, stream.as_bytes(), true);
    let mut text = String::new();
    while !bytes.is_empty() {
        if sent >= leaves_after {
            whole = false;
            break;
        }
        let size = usize::try_from(dice.below(300) + 1).expect("small").min(bytes.len());
        let (part, rest) = bytes.split_at(size);
        origin.say(part.to_vec());
        (bytes, sent) = (rest, sent + size as u64);
        while let Some(passed) = next(&mut body).now_or_never() {
            let Some(passed) = passed else { break };
            text += &passed;
        }
        if origin.is_gone() {
            // Cut off, or already said all.
            whole = text.contains("\"usage\"");
            break;
        }
        tokio::task::yield_now().await;
    }
    let breaks = whole && dice.below(10) == 0 && !origin.is_gone();
    if breaks {
        origin.breaks();
    }
    drop(origin);
    if whole {
        while let Some(passed) = next(&mut body).await {
            text += &passed;
        }
    }
    drop(body);
    // The provider's word counts where all of it has passed, whatever came after.
    let said = text.find("\"usage\"").is_some_and(|at| text[at..].contains("\n\n"));
    if said {
        Told { exact: 1, ..Told::default() }
    } else {
        Told { estimated: 1, ..Told::default() }
    }
}

#[tokio::test]
async fn whatever_happens_the_books_are_right() {
    for seed in 1..=20 {
        let dice = Dice::new(seed);
        let clock = Clock::manual(start());
        let memory = Arc::new(MemoryLedger::new(clock.clone()));
        let flaky = Arc::new(Flaky { memory: memory.clone(), dice: dice.clone() });
        let settings = format!(
            "ask_for_usage = false\ndefault_output_tokens = 100\nleast_output_tokens = 10\n\
             [[budgets]]\nname = \"b\"\nper = \"tenant\"\nperiod = \"total\"\ntokens = {LIMIT}\n"
        );
        let world = World::over(&settings, clock, memory, flaky);
        let caller = caller_of(TenantId::new(), "a");
        let (mut told, mut at_once) = (Told::default(), 0);
        for _ in 0..6 {
            let calls = dice.below(40) + 1;
            at_once = at_once.max(calls);
            for one in join_all((0..calls).map(|_| one_call(&world, &dice, &caller))).await {
                told.exact += one.exact;
                told.estimated += one.estimated;
                told.crashed += one.crashed;
            }
        }
        world.metering.settled().await;
        assert_eq!(world.metering.counts().lost, 0, "seed {seed}");
        let totals = world.ledger.totals();
        assert_eq!(totals.open as u64, told.crashed, "seed {seed}: only what was killed is open");
        let counts = world.metering.counts();
        assert_eq!(counts.settled, [told.exact, told.estimated], "seed {seed}");
        let bound = LIMIT + PIECE * i64::try_from(at_once).expect("small");
        assert!(totals.usage.total() <= bound, "seed {seed}: {} is beyond {bound}", totals.usage.total());
        // Leases end; the next call sees to it.
        world.clock.shift(3_600_000_000);
        let _ = world.begin(&caller, "/v1/messages", "{\"max_tokens\":1}").await.map(|(_, call)| call.release());
        world.metering.settled().await;
        let after = world.ledger.totals();
        assert_eq!((after.open, after.reserved), (0, 0), "seed {seed}: nothing leaks");
        assert_eq!(after.settled, told.exact + told.estimated + told.crashed, "seed {seed}: each is entered once");
        assert!(after.usage.total() <= bound, "seed {seed}");
    }
}

#[tokio::test]
async fn what_the_providers_say_is_what_the_ledger_says() {
    for seed in 1..=20 {
        let dice = Dice::new(seed);
        let clock = Clock::manual(start());
        let memory = Arc::new(MemoryLedger::new(clock.clone()));
        let flaky = Arc::new(Flaky { memory: memory.clone(), dice: dice.clone() });
        let world = World::over("", clock, memory, flaky);
        let caller = caller_of(TenantId::new(), "a");
        let calls = (0..60).map(|_| async {
            let used = Usage {
                input: i64::try_from(dice.below(10_000)).expect("small"),
                output: i64::try_from(dice.below(10_000)).expect("small"),
                ..Usage::default()
            };
            let ask = "{\"model\":\"m\",\"stream\":true}";
            let (_, call) = world.begin(&caller, "/v1/chat/completions", ask).await.expect("let through");
            let stream = format!(
                "{}data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{},\"completion_tokens\":{}}}}}\n\ndata: [DONE]\n\n",
                event(true).repeat(usize::try_from(dice.below(30)).expect("small")),
                used.input,
                used.output
            );
            let (origin, response) = Origin::stream();
            let mut bytes = stream.as_bytes();
            while !bytes.is_empty() {
                let (part, rest) =
                    bytes.split_at(usize::try_from(dice.below(120) + 1).expect("small").min(bytes.len()));
                origin.say(part.to_vec());
                bytes = rest;
            }
            drop(origin);
            let mut body = call.answer(response).into_body();
            while next(&mut body).await.is_some() {}
            used
        });
        let said = join_all(calls).await;
        world.metering.settled().await;
        let totals = world.ledger.totals();
        let sum = |field: fn(&Usage) -> i64| said.iter().map(field).sum::<i64>();
        assert_eq!((totals.usage.input, totals.usage.output), (sum(|used| used.input), sum(|used| used.output)));
        assert_eq!((totals.settled, totals.estimated), (60, 0), "seed {seed}");
    }
}
