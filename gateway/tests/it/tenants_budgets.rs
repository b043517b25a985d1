//! Tenants do not show in each other's budgets of tokens, hedges and shares under load: what one does first, or at
//! the same time, leaves the other what it has alone. Beside `tenants_apart`, which has the rest.

use crate::two_tenants::{Act, Run, Step, Tenant, tenants};

const DECLARED: &str = r#"
[shedding]
min_concurrency = 4
initial_concurrency = 4
max_concurrency = 4
[upstreams.calm]
servers = ["http://ORIGIN"]
[upstreams.pair]
servers = ["http://ORIGIN", "http://SECOND"]
retry = { hedge_after_ms = 2, budget_floor = 3, budget_ratio = 0.0 }
[[meters.llm.budgets]]
name = "of_tenant"
per = "tenant"
period = "month"
tokens = 400
[[meters.llm.budgets]]
name = "of_user"
per = "user"
period = "day"
tokens = 250
[[routes]]
path = "/v1/chat/completions"
upstream = "calm"
meter = "llm"
[[routes]]
path = "/hedged/{what}"
upstream = "pair"
hedge = true
[[routes]]
path = "/held/{key}"
upstream = "calm"
"#;

fn ask(method: &'static str, target: &str, person: usize, times: usize) -> impl Iterator<Item = Step> + use<> {
    let act = Act::Ask { method, target: target.to_owned() };
    (0..times).map(move |_| Step { person, act: act.clone() })
}

/// How two programs run.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Alone,
    After,
    AtOnce,
}

async fn walk(run: &Run, tenant: &Tenant, steps: &[Step]) -> Vec<String> {
    let mut view = run.view(tenant);
    for step in steps {
        view.step(step).await;
    }
    view.end().await
}

/// Returns what the second tenant sees, and how often its requests for a path reached the origin.
async fn second(
    tenants: &[Tenant; 2],
    programs: &[Vec<Step>; 2],
    order: Order,
    path: &str,
) -> (Vec<String>, usize) {
    let run = Run::open(DECLARED, tenants).await;
    let seen = match order {
        Order::Alone => walk(&run, &tenants[1], &programs[1]).await,
        Order::After => {
            walk(&run, &tenants[0], &programs[0]).await;
            walk(&run, &tenants[1], &programs[1]).await
        }
        Order::AtOnce => {
            tokio::join!(walk(&run, &tenants[0], &programs[0]), walk(&run, &tenants[1], &programs[1])).1
        }
    };
    (seen, run.asked(&tenants[1], path))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_that_one_has_used_up_is_whole_for_the_other() {
    let chat = "/v1/chat/completions";
    let program = |times: usize| -> Vec<Step> {
        (0..times).flat_map(|number| ask("POST", chat, number % 2, 1)).collect()
    };
    let (tenants, programs) = (tenants(), [program(40), program(12)]);
    let alone = second(&tenants, &programs, Order::Alone, chat).await;
    for met in ["200", "402", "gateway.budget_exhausted"] {
        assert!(alone.0.iter().any(|seen| seen.contains(met)), "{met}: {:?}", alone.0);
    }
    assert_eq!(second(&tenants, &programs, Order::After, chat).await, alone);
    assert_eq!(second(&tenants, &programs, Order::AtOnce, chat).await, alone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hedges_of_one_leave_the_other_its_own() {
    let slow = "/hedged/slow";
    let (tenants, programs) = (tenants(), [ask("GET", slow, 0, 20).collect(), ask("GET", slow, 0, 8).collect()]);
    let (_, alone) = second(&tenants, &programs, Order::Alone, slow).await;
    // Three of the eight were asked for twice.
    assert_eq!(alone, 8 + 3);
    for order in [Order::After, Order::AtOnce] {
        assert_eq!(second(&tenants, &programs, order, slow).await.1, alone);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fills_all_there_is_leaves_the_other_its_share() {
    let hold = |from: usize, times: usize| -> Vec<Step> {
        (0..times).map(|number| Step { person: 0, act: Act::Hold(from + number) }).collect()
    };
    let tenants = tenants();
    let run = Run::open(DECLARED, &tenants).await;
    let (mut greedy, mut modest) = (run.view(&tenants[0]), run.view(&tenants[1]));
    for step in hold(0, 10) {
        greedy.step(&step).await;
    }
    let held = greedy.seen.iter().filter(|seen| seen.ends_with(": held")).count();
    assert_eq!(held, 4, "{:?}", greedy.seen);
    assert!(greedy.seen.last().expect("some").contains("gateway.overloaded"), "{:?}", greedy.seen);
    // Half of it is the other's, whoever came first.
    for step in hold(20, 2) {
        modest.step(&step).await;
    }
    assert!(modest.seen.iter().all(|seen| seen.ends_with(": held")), "{:?}", modest.seen);
    modest.end().await;
    greedy.end().await;
}
