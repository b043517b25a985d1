//! Letters about notifications: their two forms, and the seams through which they leave. Not for when
//! and whether they do: see `deliver`.

use futures_util::future::BoxFuture;
use jiff::tz::TimeZone;
use kernel::{Error, Result, Timestamp, UserId};
use minijinja::{Environment, UndefinedBehavior, Value, context};

/// How many occurrences a letter shows.
pub(crate) const SHOWN: usize = 20;

/// A person's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The person's name.
    pub name: String,
    /// The e-mail address.
    pub email: String,
}

/// Knows people's addresses. They do not travel in events and are not kept here.
pub trait Directory: Send + Sync + 'static {
    /// Returns where somebody gets letters; nothing for who has no address or may not sign in.
    fn address(&self, user: UserId) -> BoxFuture<'_, Result<Option<Address>>>;
}

/// A letter on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Names the delivery: the same in every attempt, so that a second copy can be told.
    pub id: String,
    /// Whom it is for.
    pub to: Address,
    /// The subject.
    pub subject: String,
    /// The letter as text.
    pub text: String,
    /// The letter as HTML.
    pub html: String,
    /// Where one POST stops letters of this type (RFC 8058); nothing where the organisation wants them.
    pub unsubscribe: Option<String>,
}

/// Why a letter did not leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// The server is away or says: later.
    Later(String),
    /// The server will never take it.
    Refused {
        /// What the server said.
        why: String,
        /// Whether it is the address that it does not take.
        address: bool,
    },
}

/// Hands letters to a mail server.
pub trait Mailer: Send + Sync + 'static {
    /// Hands a letter over; when this returns, the server answers for it.
    fn send<'a>(&'a self, mail: &'a Mail) -> BoxFuture<'a, Result<(), NotSent>>;
}

/// One thing that a letter tells.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub at: String,
    pub title: String,
    pub body: String,
}

/// What a letter tells.
#[derive(Clone, Debug)]
pub(crate) struct Told<'a> {
    pub lines: Vec<Line>,
    /// How many there are in all.
    pub count: i64,
    pub organization: &'a str,
    pub front: &'a str,
    pub unsubscribe: Option<&'a str>,
}

/// The forms of letters, read and tried at the start.
pub(crate) struct Templates(Environment<'static>);

impl Templates {
    /// Reads the forms and fills them once, so that a mistake in them shows before a socket opens.
    pub(crate) fn read() -> Result<Self> {
        let wrong = |error: minijinja::Error| Error::internal("a letter's form is not valid").source_error(error);
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_template("letter.txt", include_str!("letter_templates/letter.txt")).map_err(wrong)?;
        // What ends in .html is escaped.
        environment.add_template("letter.html", include_str!("letter_templates/letter.html")).map_err(wrong)?;
        let templates = Self(environment);
        let line = Line { at: String::new(), title: String::new(), body: String::new() };
        let told = Told { lines: vec![line], count: 2, organization: "", front: "", unsubscribe: Some("") };
        templates.fill(&told)?;
        Ok(templates)
    }

    /// Returns the subject and the two forms of a letter.
    pub(crate) fn fill(&self, told: &Told<'_>) -> Result<(String, String, String)> {
        let first = told.lines.first().map(|line| line.title.as_str()).unwrap_or_default();
        let subject = match told.count {
            ..=1 => first.to_owned(),
            count => format!("{first} (and {} more)", count - 1),
        };
        let more = told.count - i64::try_from(told.lines.len()).unwrap_or(i64::MAX);
        let line =
            |line: &Line| context! { at => line.at.as_str(), title => line.title.as_str(), body => line.body.as_str() };
        let lines: Vec<Value> = told.lines.iter().map(line).collect();
        let values = context! {
            title => subject.as_str(), lines, more => more.max(0), organization => told.organization,
            front => told.front, unsubscribe => told.unsubscribe,
        };
        let fill = |name: &str| {
            let filled = self.0.get_template(name).and_then(|form| form.render(&values));
            filled.map_err(|error| Error::internal(format!("{name} cannot be filled")).source_error(error))
        };
        let (text, html) = (fill("letter.txt")?, fill("letter.html")?);
        Ok((subject, text, html))
    }
}

/// Returns a moment as people of a zone read it.
pub(crate) fn moment(at: Timestamp, zone: &str) -> String {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    match jiff::Timestamp::from_microsecond(at.0) {
        Ok(moment) => moment.to_zoned(zone).strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_say_all_and_escape_what_others_wrote() {
        let line = Line {
            at: moment(Timestamp::parse("2026-11-21T08:00:00Z").expect("a time"), "Asia/Bangkok"),
            title: "Low stock: <script>alert(1)</script>".to_owned(),
            body: "ส้ม & \"more\"".to_owned(),
        };
        let told = Told {
            lines: vec![line; SHOWN],
            count: 23,
            organization: "Farm & Co",
            front: "https://front.example/",
            unsubscribe: Some("https://api.example/u?token=a"),
        };
        let (subject, text, html) = Templates::read().expect("sound").fill(&told).expect("filled");
        assert_eq!(subject, "Low stock: <script>alert(1)</script> (and 22 more)");
        assert!(
            text.contains("2026-11-21 15:00") && text.contains("ส้ม & \"more\"") && text.contains("3 more"),
            "{text}"
        );
        assert!(
            !html.contains("<script>") && html.contains("&lt;script&gt;") && html.contains("Farm &amp; Co"),
            "{html}"
        );
        assert!(text.contains("https://api.example/u?token=a") && html.contains("No more letters"));
        let wanted = Told { unsubscribe: None, ..told };
        let (_, text, html) = Templates::read().expect("sound").fill(&wanted).expect("filled");
        assert!(!text.contains("No more letters") && !html.contains("No more letters"));
    }
}
