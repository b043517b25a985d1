//! What rules have to keep, so that no version of them breaks a promise: every value has a band, and
//! a worse measurement never gives a better score. Not for whether the rules are wise.

use super::super::measured::Input;
use super::{Better, Cap, Rule, Rules};

/// Says what is wrong with rules.
pub(super) fn check(rules: &Rules) -> Result<(), String> {
    let grades = &rules.grades;
    if !(0 < grades.b && grades.b < grades.a && grades.a <= 100 && (1..=100).contains(&rules.certain)) {
        return Err("the borders must rise from C to A within 100 points, and certain must be from 1 to 100".to_owned());
    }
    for input in Input::ALL {
        if rules.inputs.iter().filter(|rule| rule.input == input).count() != 1 {
            return Err(format!("{}: there must be one list of bands", input.name()));
        }
    }
    for rule in &rules.inputs {
        bands(rule).map_err(|why| format!("{}: {why}", rule.input.name()))?;
    }
    let all: u32 = rules.inputs.iter().map(Rule::most).sum();
    if all != 100 {
        return Err(format!("the best bands have {all} points together instead of 100"));
    }
    for cap in &rules.caps {
        caps(rules, cap).map_err(|why| format!("{}: {why}", cap.rule))?;
    }
    let mut names: Vec<&String> = rules.inputs.iter().flat_map(|rule| &rule.bands).map(|band| &band.rule).collect();
    names.extend(rules.caps.iter().map(|cap| &cap.rule));
    names.sort();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    twice.map_or(Ok(()), |pair| Err(format!("{} is the name of two rules", pair[0])))
}

fn bands(rule: &Rule) -> Result<(), String> {
    let from: Vec<f64> = rule.bands.iter().map(|band| band.from).collect();
    let within = from.iter().all(|from| (0.0..=rule.input.most()).contains(from));
    if from.first() != Some(&0.0) || !within || !from.is_sorted_by(|one, next| one < next) {
        return Err("the bands must begin at 0 and rise within the range".to_owned());
    }
    if rule.bands.iter().any(|band| band.points > 100) || rule.most() == 0 {
        return Err("a band has 0 to 100 points, and the best one some".to_owned());
    }
    let points: Vec<u32> = rule.bands.iter().map(|band| band.points).collect();
    let best = points.iter().position(|points| *points == rule.most()).unwrap_or(0);
    let keeps = match rule.better {
        Better::More => points.is_sorted(),
        Better::Less => points.is_sorted_by(|one, next| one >= next),
        Better::Between => points[..best].is_sorted() && points[best..].is_sorted_by(|one, next| one >= next),
    };
    if keeps { Ok(()) } else { Err(format!("the points do not keep that {:?} is better", rule.better)) }
}

/// A cap holds from some value on, so it must stand on the side where more is worse.
fn caps(rules: &Rules, cap: &Cap) -> Result<(), String> {
    if cap.score > 100 || !(0.0..=cap.input.most()).contains(&cap.from) {
        return Err("a cap is 0 to 100 points, from a value within the range".to_owned());
    }
    let rule = rules.inputs.iter().find(|rule| rule.input == cap.input).ok_or("there are no bands")?;
    let best = rule.bands.iter().rfind(|band| band.points == rule.most()).map_or(0.0, |band| band.from);
    if rule.better != Better::More && cap.from > best {
        return Ok(());
    }
    Err("a cap may only begin beyond the best band".to_owned())
}
