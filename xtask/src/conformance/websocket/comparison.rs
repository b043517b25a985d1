//! What Autobahn's cases say about the proxy: how each went with it and without.
//!
//! For: no failure through the proxy that the server alone does not have. Not for: judging the server.

use serde_json::Value;

use super::{DIRECT, PROXIED};
use crate::workspace::Outcome;

/// How many cases Autobahn's version 25.10.1 has; a run with fewer proves less than it says.
const CASES: usize = 517;

/// A case, and how it went with and without the proxy.
struct Case {
    name: String,
    direct: String,
    proxied: String,
}

/// How all cases went.
pub(super) struct Comparison(Vec<Case>);

/// Says how a case went: its behaviour, and how the connection was closed where that is not as it should be.
fn judged(case: &Value) -> String {
    let (behaviour, close) = (case["behavior"].as_str().unwrap_or("?"), case["behaviorClose"].as_str().unwrap_or("?"));
    if close == "OK" || close == "INFORMATIONAL" { behaviour.to_owned() } else { format!("{behaviour}, close {close}") }
}

fn failed(judged: &str) -> bool {
    ["FAILED", "WRONG CODE", "UNCLEAN", "?"].iter().any(|word| judged.contains(word))
}

impl Comparison {
    /// Reads the index of the reports.
    pub(super) fn of(index: &Value) -> Outcome<Self> {
        let cases = index[DIRECT].as_object().ok_or("the report has no direct run")?;
        let mut all: Vec<Case> = cases
            .iter()
            .map(|(name, case)| Case {
                name: name.clone(),
                direct: judged(case),
                proxied: judged(&index[PROXIED][name.as_str()]),
            })
            .collect();
        all.sort_by_key(|case| case.name.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>());
        Ok(Self(all))
    }

    /// Returns a line for each group, and one for each case that went differently.
    pub(super) fn table(&self) -> String {
        let group = |case: &Case| case.name.split('.').next().unwrap_or_default().to_owned();
        let mut groups: Vec<String> = self.0.iter().map(group).collect();
        groups.dedup();
        let mut text = format!("\n{:<8} {:>6}   {:<44} {}\n", "group", "cases", DIRECT, PROXIED);
        for name in groups {
            let cases: Vec<&Case> = self.0.iter().filter(|case| group(case) == name).collect();
            let count = |of: fn(&Case) -> &String| {
                let mut counts: Vec<(&str, usize)> = Vec::new();
                for case in &cases {
                    match counts.iter_mut().find(|(word, _)| *word == of(case)) {
                        Some((_, count)) => *count += 1,
                        None => counts.push((of(case), 1)),
                    }
                }
                counts.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join("; ")
            };
            let (direct, proxied) = (count(|case| &case.direct), count(|case| &case.proxied));
            text.push_str(&format!("{name:<8} {:>6}   {direct:<44} {proxied}\n", cases.len()));
        }
        for case in self.0.iter().filter(|case| case.direct != case.proxied) {
            text.push_str(&format!("differs  {}: {} directly, {} proxied\n", case.name, case.direct, case.proxied));
        }
        text
    }

    /// Fails where the proxy made a case worse, or a whole run was none.
    pub(super) fn verdict(&self, whole: bool) -> Outcome {
        let worse: Vec<&str> = self
            .0
            .iter()
            .filter(|case| failed(&case.proxied) && !failed(&case.direct))
            .map(|case| case.name.as_str())
            .collect();
        if !worse.is_empty() {
            return Err(format!("failures that only the proxy has: {}", worse.join(", ")));
        }
        match self.0.len() {
            CASES => println!("{CASES} cases, no failure through the proxy that the server alone does not have"),
            some if whole => return Err(format!("{some} cases ran instead of {CASES}")),
            some => println!("Only {some} of {CASES} cases ran: that is not the whole suite."),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn index(proxied: &str, close: &str) -> Value {
        let fine = json!({ "behavior": "OK", "behaviorClose": "OK" });
        json!({
            "direct": { "1.1.10": fine, "1.1.2": { "behavior": "FAILED", "behaviorClose": "OK" } },
            "proxied": {
                "1.1.10": { "behavior": proxied, "behaviorClose": close },
                "1.1.2": { "behavior": "FAILED", "behaviorClose": "OK" },
            },
        })
    }

    #[test]
    fn only_what_the_proxy_makes_worse_is_a_failure() {
        let same = Comparison::of(&index("OK", "OK")).unwrap();
        assert_eq!((same.0[0].name.as_str(), same.0[1].name.as_str()), ("1.1.2", "1.1.10"));
        same.verdict(false).unwrap();
        assert!(same.verdict(true).unwrap_err().contains("2 cases ran"));
        for (behaviour, close) in [("FAILED", "OK"), ("OK", "WRONG CODE"), ("OK", "UNCLEAN")] {
            let worse = Comparison::of(&index(behaviour, close)).unwrap();
            assert!(worse.verdict(false).unwrap_err().ends_with("1.1.10"));
            assert!(worse.table().contains("differs  1.1.10"));
        }
        Comparison::of(&index("NON-STRICT", "OK")).unwrap().verdict(false).unwrap();
        let mut missing = index("OK", "OK");
        missing["proxied"].as_object_mut().unwrap().remove("1.1.10");
        assert!(Comparison::of(&missing).unwrap().verdict(false).is_err());
    }
}
