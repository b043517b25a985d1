//! Budgets in money over models without a price: refused when the file is read where nothing could be called, at the
//! call where that depends on the model; never free.

use serde_json::json;

use crate::front::Front;
use crate::member;

const DECLARED: &str = r#"
[upstreams.origin]
servers = ["http://ORIGIN"]
[[meters.llm.budgets]]
name = "tenant-month"
per = "tenant"
period = "month"
nano = 1_000_000_000
[[meters.llm.prices]]
model = "small*"
input_nano_per_million = 1_000_000
output_nano_per_million = 1_000_000

[[routes]]
path = "/v1/chat/completions"
upstream = "origin"
meter = "llm"
"#;

const ONE: (&str, &str) = ("authorization", "Bearer one");
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_model_without_a_price_is_not_free_where_money_is_counted() {
    let front = Front::open(DECLARED).await;
    front.tokens.add("one", &member("tok_1"));
    let call = async |model: &str| {
        let body = json!({ "model": model, "max_tokens": 5, "messages": [{ "role": "user", "content": "hello" }] });
        front.send("POST", "/v1/chat/completions", &[ONE, JSON], body.to_string()).await
    };
    assert_eq!(call("small-1").await.status, 200);
    for model in ["large-1", "", "Small-1", " small-1"] {
        let refused = call(model).await;
        assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("gateway.model_not_priced")), "{model:?}");
    }
    let none = json!({ "messages": [] }).to_string();
    let refused = front.send("POST", "/v1/chat/completions", &[ONE, JSON], none).await;
    assert_eq!(refused.json()["code"], "gateway.model_not_priced", "nor one that is not named");
    assert_eq!(front.origin.asked().len(), 1, "none of them has reached the provider");
    front.stop().await;
}

#[tokio::test]
async fn a_file_that_counts_money_and_names_no_price_is_refused() {
    let front = Front::open(DECLARED).await;
    let prices = DECLARED.find("[[meters.llm.prices]]").expect("there")..DECLARED.find("[[routes]]").expect("there");
    let error = front.reload(&DECLARED[prices], "").await.expect_err("nobody could call anything");
    let message = error.message();
    assert!(message.starts_with("gateway.toml:") && message.contains("`tenant-month` counts money"), "{message}");
    front.stop().await;
}
