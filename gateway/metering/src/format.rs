//! What language models' providers write into their events: how much text there is, what they say was used, and how
//! an error looks. One reader for all formats, because gateways and providers mix them. Not for whole bodies.

use std::borrow::Cow;

use kernel::Error;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::estimate::Weight;
use crate::text::Text;
use crate::usage::Usage;

/// The formats of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// OpenAI's chat completions, as many others write them.
    OpenaiChat,
    /// OpenAI's responses.
    OpenaiResponses,
    /// Anthropic's messages.
    Anthropic,
}

impl Format {
    /// Guesses the format from a path.
    pub fn of_path(path: &str) -> Self {
        match path.trim_end_matches('/').rsplit('/').next() {
            Some("messages") => Self::Anthropic,
            Some("responses") => Self::OpenaiResponses,
            _ => Self::OpenaiChat,
        }
    }

    /// Returns the last event of a stream that the gateway ends.
    pub(crate) fn last_event(self, error: &Error) -> String {
        let (code, message) = (error.code(), error.message());
        let kind = if error.status() < 500 { "insufficient_quota" } else { "server_error" };
        match self {
            Self::OpenaiChat => {
                let body = json!({ "error": { "message": message, "type": kind, "param": null, "code": code } });
                format!("data: {body}\n\ndata: [DONE]\n\n")
            }
            Self::OpenaiResponses => {
                let body = json!({ "type": "error", "code": code, "message": message, "param": null });
                format!("event: error\ndata: {body}\n\n")
            }
            Self::Anthropic => {
                let kind = if error.status() < 500 { "billing_error" } else { "api_error" };
                let body = json!({ "type": "error", "error": { "type": kind, "message": message, "code": code } });
                format!("event: error\ndata: {body}\n\n")
            }
        }
    }
}

/// What a provider says was used, in the words of any of them.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Said {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<Details>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    input_tokens_details: Option<Details>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    cached_tokens: Option<u64>,
}

fn whole(tokens: Option<u64>) -> i64 {
    tokens.map_or(0, |tokens| i64::try_from(tokens).unwrap_or(i64::MAX))
}

impl Said {
    /// Adds what was said later, which counts where it says something.
    pub(crate) fn then(&mut self, later: Self) {
        macro_rules! take {
            ($($field:ident),*) => { $( self.$field = later.$field.or(self.$field); )* };
        }
        take!(prompt_tokens, completion_tokens, prompt_tokens_details, input_tokens, output_tokens);
        take!(input_tokens_details, cache_read_input_tokens, cache_creation_input_tokens);
    }

    /// Returns the usage, each token once: OpenAI counts cached tokens among the question's, Anthropic beside them.
    pub(crate) fn usage(&self) -> Usage {
        let details = self.prompt_tokens_details.or(self.input_tokens_details).unwrap_or_default();
        let question = whole(self.prompt_tokens.or(self.input_tokens));
        let among = whole(details.cached_tokens).min(question);
        Usage {
            input: question - among,
            cached: among.saturating_add(whole(self.cache_read_input_tokens)),
            cache_write: whole(self.cache_creation_input_tokens),
            output: whole(self.completion_tokens.or(self.output_tokens)),
        }
    }

    /// Says whether it says anything of the question, or of the answer.
    pub(crate) fn says_anything(&self) -> bool {
        let said = [self.prompt_tokens, self.completion_tokens, self.input_tokens, self.output_tokens];
        said.iter().any(Option::is_some)
    }

    fn says_question(&self) -> bool {
        self.prompt_tokens.or(self.input_tokens).is_some()
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    usage: Option<Said>,
    message: Option<Holder>,
    response: Option<Holder>,
    choices: Option<Vec<Choice>>,
    delta: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Holder {
    usage: Option<Said>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Choice {
    delta: Option<Text>,
    text: Option<Text>,
    finish_reason: Option<IgnoredAny>,
}

/// What the provider has said of its usage so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    None,
    Begun,
    Last,
}

/// What is known of an answer so far.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    said: Said,
    word: Word,
    text: Weight,
    /// How many events brought text: each is a token at least.
    pieces: i64,
    finished: bool,
    estimated_question: i64,
}

/// What an event was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing but the usage, as OpenAI's last chunk is when it was asked for.
    UsageOnly,
    Other,
}

impl Meter {
    pub(crate) fn new(estimated_question: i64) -> Self {
        Self {
            said: Said::default(),
            word: Word::None,
            text: Weight::default(),
            pieces: 0,
            finished: false,
            estimated_question,
        }
    }

    /// Reads the data of an event.
    pub(crate) fn event(&mut self, data: &[u8]) -> Kind {
        let Ok(frame) = serde_json::from_slice::<Frame<'_>>(data) else {
            // `[DONE]`, or nothing that anybody can read: it counts as text then, by its bytes.
            if data != b"[DONE]" {
                self.text.add_bytes(data);
            }
            return Kind::Other;
        };
        let mut text = Weight::default();
        if let Some(delta) = frame.delta {
            text.join(delta.0);
        }
        for choice in frame.choices.iter().flatten() {
            text.join(choice.delta.unwrap_or_default().0);
            text.join(choice.text.unwrap_or_default().0);
            self.finished |= choice.finish_reason.is_some();
        }
        self.pieces += i64::from(!text.is_nothing());
        self.text.join(text);

        let inner = [&frame.message, &frame.response].into_iter().flatten().find_map(|holder| holder.usage);
        let Some(said) = frame.usage.or(inner).filter(Said::says_anything) else { return Kind::Other };
        self.said.then(said);
        let no_choices = frame.choices.as_ref().is_some_and(Vec::is_empty);
        let last = match frame.kind.as_deref() {
            Some("message_start") => false,
            Some(_) => true,
            // Some providers say how far they are in every chunk.
            None => no_choices || self.finished,
        };
        self.word = if last { Word::Last } else { Word::Begun.max(self.word) };
        if frame.kind.is_none() && no_choices { Kind::UsageOnly } else { Kind::Other }
    }

    /// Takes the usage of a whole body.
    pub(crate) fn body(&mut self, said: Option<Said>, text: Weight) {
        match said.filter(Said::says_anything) {
            Some(said) => (self.said, self.word) = (said, Word::Last),
            None => self.text.join(text),
        }
    }

    /// Says whether the provider has had its last word on the usage.
    pub(crate) fn is_exact(&self) -> bool {
        self.word == Word::Last
    }

    /// Returns what has been used so far: the provider's word where there is one, else what it probably is.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = self.said.usage();
        if self.word != Word::Last {
            if !self.said.says_question() {
                usage.input = self.estimated_question;
            }
            usage.output = usage.output.max(self.text.tokens()).max(self.pieces);
        }
        usage
    }
}

impl Word {
    fn max(self, other: Self) -> Self {
        if other == Self::Last { other } else { self }
    }
}
