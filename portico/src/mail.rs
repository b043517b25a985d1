//! How letters leave: over SMTP where a server is configured, else as files in the data folder. A
//! letter that signs somebody in is a file first and leaves behind the answer, so that no sign-in
//! waits for a mail server; one about notifications is a task already and goes straight. Not for what
//! letters say.

mod folder;
mod headers;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use identity::{Courier, Letter};
use kernel::{Error, Result, UserId};
use lettre::address::Envelope;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use notifications::{Address, Directory, Mail, Mailer, NotSent};
use store::Store;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use self::folder::{list, off_thread, read_letter, unwritable, write};
use self::headers::{AutoSubmitted, ListUnsubscribe, ListUnsubscribePost};

/// How long a mail server may take for one letter.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the folder is looked at when nobody rings: a process before this one may have left letters.
const LOOK: Duration = Duration::from_secs(10);
/// The pauses after attempts at a letter from the folder; the last attempt that fails moves it aside.
const PAUSES: [u64; 7] = [5, 30, 60, 300, 1_800, 7_200, 43_200];
/// Where letters go that nobody takes.
const FAILED: &str = "failed";

type Answer<'a, T, E = Error> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// The way letters leave. Cloning it is cheap.
#[derive(Clone)]
pub struct Post(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    from: Mailbox,
    server: Option<AsyncSmtpTransport<Tokio1Executor>>,
    rung: Notify,
}

impl Post {
    /// Returns the way letters leave: over the server of `smtp_url`, or into the folder where that is
    /// empty.
    pub fn new(folder: PathBuf, from: &str, smtp_url: &str) -> Result<Self> {
        let wrong =
            |key: &str, error: &dyn std::fmt::Display| Error::invalid("config.invalid", format!("mail.{key}: {error}"));
        let from: Mailbox = from.parse().map_err(|error| wrong("from", &error))?;
        let server = match smtp_url {
            "" => None,
            url => {
                // What the library says of a URL may show the password in it.
                let unsound = |_| wrong("smtp_url", &"must look like smtp://host:port, or smtps://name:password@host");
                let known = match url.strip_prefix("smtp+starttls://") {
                    Some(rest) => format!("smtp://{rest}?tls=required"),
                    None => url.to_owned(),
                };
                let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(&known).map_err(unsound)?;
                let name = ClientId::Domain(from.email.domain().to_owned());
                Some(server.hello_name(name).timeout(Some(PATIENCE)).build())
            }
        };
        Ok(Self(Arc::new(Inner { folder, from, server, rung: Notify::new() })))
    }

    /// Starts to send what is left in the folder, where there is a server.
    pub fn start(&self) -> Option<JoinHandle<()>> {
        self.0.server.as_ref()?;
        let post = self.clone();
        Some(tokio::spawn(async move {
            let mut tried = HashMap::new();
            loop {
                if let Err(error) = post.empty_folder(&mut tried).await {
                    tracing::warn!(error = %error, "letters wait: the folder cannot be read");
                }
                let _ = tokio::time::timeout(LOOK.min(Duration::from_secs(PAUSES[0])), post.0.rung.notified()).await;
            }
        }))
    }

    /// Sends each letter whose time has come, and takes what the server has out of the folder.
    async fn empty_folder(&self, tried: &mut HashMap<PathBuf, (usize, Instant)>) -> Result<()> {
        let folder = self.0.folder.clone();
        let letters = off_thread(move || list(&folder)).await?;
        tried.retain(|path, _| letters.contains(path));
        for path in letters {
            let now = Instant::now();
            if tried.get(&path).is_some_and(|(_, next)| *next > now) {
                continue;
            }
            let read = path.clone();
            let (envelope, letter) = match off_thread(move || read_letter(&read)).await {
                Ok(read) => read,
                Err(error) => {
                    tracing::warn!(error = %error, "a letter cannot be read and is moved aside");
                    self.set_aside(&path).await?;
                    continue;
                }
            };
            match self.hand_over(&envelope, &letter).await {
                Ok(()) => {
                    let sent = path.clone();
                    off_thread(move || std::fs::remove_file(&sent)).await?;
                }
                Err(NotSent::Refused { why, .. }) => {
                    tracing::warn!(why, "a letter was refused for good and is moved aside");
                    self.set_aside(&path).await?;
                }
                Err(NotSent::Later(why)) => {
                    let made = tried.get(&path).map_or(0, |(made, _)| *made);
                    match PAUSES.get(made) {
                        Some(pause) => {
                            tracing::info!(why, pause_s = pause, "a letter waits for the mail server");
                            tried.insert(path, (made + 1, now + Duration::from_secs(*pause)));
                        }
                        None => self.set_aside(&path).await?,
                    }
                }
            }
        }
        Ok(())
    }

    async fn set_aside(&self, path: &Path) -> Result<()> {
        let (folder, path) = (self.0.folder.join(FAILED), path.to_owned());
        off_thread(move || {
            std::fs::create_dir_all(&folder)?;
            let name = path.file_name().unwrap_or_default();
            std::fs::rename(&path, folder.join(name))
        })
        .await
    }

    async fn hand_over(&self, envelope: &Envelope, letter: &[u8]) -> Result<(), NotSent> {
        let none = || NotSent::Later("there is no mail server".to_owned());
        let server = self.0.server.as_ref().ok_or_else(none)?;
        server.send_raw(envelope, letter).await.map(|_| ()).map_err(|error| judge(&error))
    }

    /// Keeps a letter in the folder under this name; it is on disk when this returns.
    async fn keep(&self, name: String, letter: Vec<u8>) -> Result<()> {
        let folder = self.0.folder.clone();
        off_thread(move || write(&folder, &name, &letter)).await?;
        self.0.rung.notify_one();
        Ok(())
    }

    fn code_letter(&self, letter: &Letter) -> Result<Message> {
        let to = letter.to.parse().map_err(|error| unwritable(&error))?;
        let message = Message::builder().from(self.0.from.clone()).to(to).subject(&letter.subject);
        let message = message.header(AutoSubmitted).message_id(None).header(ContentType::TEXT_PLAIN);
        message.body(letter.text.clone()).map_err(|error| unwritable(&error))
    }

    fn notification(&self, mail: &Mail) -> Result<Message> {
        let address = mail.to.email.parse().map_err(|error| unwritable(&error))?;
        let name = Some(mail.to.name.clone()).filter(|name| !name.is_empty());
        let id = format!("<{}@{}>", mail.id, self.0.from.email.domain());
        let mut message = Message::builder()
            .from(self.0.from.clone())
            .to(Mailbox::new(name, address))
            .subject(&mail.subject)
            .message_id(Some(id))
            .header(AutoSubmitted);
        if let Some(url) = &mail.unsubscribe {
            message = message.header(ListUnsubscribe(format!("<{url}>"))).header(ListUnsubscribePost);
        }
        let both = MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone());
        message.multipart(both).map_err(|error| unwritable(&error))
    }
}

/// Says what a failure means for a letter. Who refuses us all, for our name or password, may be put
/// right; only who refuses the recipient says something about the address.
fn judge(error: &lettre::transport::smtp::Error) -> NotSent {
    let mut why = error.to_string();
    why.truncate(why.floor_char_boundary(400));
    let code = error.status().map(|code| code.to_string()).unwrap_or_default();
    match code.as_str() {
        _ if !error.is_permanent() => NotSent::Later(why),
        "530" | "534" | "535" | "538" => NotSent::Later(why),
        "550" | "551" | "553" | "556" => NotSent::Refused { why, address: true },
        _ => NotSent::Refused { why, address: false },
    }
}

impl Courier for Post {
    fn send<'a>(&'a self, letter: &'a Letter) -> Answer<'a, ()> {
        Box::pin(async move {
            let name = format!("{}.eml", kernel::RequestId::create().as_str());
            self.keep(name, self.code_letter(letter)?.formatted()).await
        })
    }
}

impl Mailer for Post {
    fn send<'a>(&'a self, mail: &'a Mail) -> Answer<'a, (), NotSent> {
        Box::pin(async move {
            let refused = |error: Error| NotSent::Refused { why: error.message().to_owned(), address: false };
            let message = self.notification(mail).map_err(refused)?;
            if self.0.server.is_some() {
                return self.hand_over(message.envelope(), &message.formatted()).await;
            }
            let kept = self.keep(format!("{}.eml", mail.id), message.formatted()).await;
            kept.map_err(|error| NotSent::Later(error.to_string()))
        })
    }
}

/// Asks the identity service where somebody gets letters.
pub struct People(pub Store);

impl Directory for People {
    fn address(&self, user: UserId) -> Answer<'_, Option<Address>> {
        Box::pin(async move {
            let contact = identity::contact(&self.0, user).await?;
            Ok(contact.map(|contact| Address { name: contact.name, email: contact.email }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> Mail {
        Mail {
            id: "ndl_01".to_owned(),
            to: Address { name: "Ærø, \"A\"".to_owned(), email: "ada@example.org".to_owned() },
            subject: "Lågt: <A>".to_owned(),
            text: "text".to_owned(),
            html: "<p>html</p>".to_owned(),
            unsubscribe: Some(format!("https://api.example/api/notifications/unsubscribe?token={}", "a".repeat(200))),
        }
    }

    #[tokio::test]
    async fn letters_are_kept_whole_and_say_whom_they_are_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let post = Post::new(folder.path().to_owned(), "Portico <portico@example.org>", "").expect("sound");
        let to = format!("{}@example.org", "ada".repeat(20));
        let letter = Letter { to: to.clone(), subject: "A new password ü".to_owned(), text: "code\n".to_owned() };
        Courier::send(&post, &letter).await.expect("kept");
        let kept = list(folder.path()).expect("a list");
        let (envelope, _) = read_letter(&kept[0]).expect("reads");
        assert_eq!(
            (envelope.to()[0].to_string(), envelope.from().expect("from").to_string()),
            (to, "portico@example.org".to_owned())
        );
        Mailer::send(&post, &mail()).await.expect("kept");
        Mailer::send(&post, &mail()).await.expect("kept again");
        let kept = list(folder.path()).expect("a list");
        assert_eq!(kept.len(), 2, "the same delivery is one letter");
        let (envelope, letter) = read_letter(&folder.path().join("ndl_01.eml")).expect("reads");
        let text = String::from_utf8(letter).expect("ASCII");
        assert_eq!(envelope.to()[0].to_string(), "ada@example.org");
        let url = mail().unsubscribe.expect("one");
        for line in [
            "Message-ID: <ndl_01@example.org>".to_owned(),
            format!("List-Unsubscribe: <{url}>"),
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click".to_owned(),
            "Auto-Submitted: auto-generated".to_owned(),
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{line}: {text}");
        }
        assert!(text.contains("text/plain") && text.contains("text/html") && text.is_ascii());
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_tried_later_and_what_is_no_letter_is_moved_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("smtp://{}", listener.local_addr().expect("an address"));
        drop(listener);
        let post = Post::new(folder.path().to_owned(), "portico@example.org", &url).expect("sound");
        assert!(matches!(Mailer::send(&post, &mail()).await, Err(NotSent::Later(_))));
        std::fs::write(folder.path().join("a.eml"), "no letter").expect("written");
        let letter = Letter { to: "ada@example.org".to_owned(), subject: "s".to_owned(), text: "t".to_owned() };
        Courier::send(&post, &letter).await.expect("kept");
        let mut tried = HashMap::new();
        post.empty_folder(&mut tried).await.expect("looked");
        assert_eq!(tried.values().map(|(made, _)| *made).collect::<Vec<_>>(), [1]);
        assert!(folder.path().join(FAILED).join("a.eml").exists());
        assert_eq!(list(folder.path()).expect("a list").len(), 1);
    }

    #[tokio::test]
    async fn unsound_settings_are_refused_without_showing_a_password() {
        let at = |from: &str, url: &str| Post::new(PathBuf::new(), from, url).map(|_| ()).expect_err("refused");
        assert!(at("nobody", "").message().contains("mail.from"));
        for url in ["smtp://h:25", "smtps://user:s3cret@h", "smtp+starttls://user:s3cret@h:587"] {
            Post::new(PathBuf::new(), "a@b.c", url).expect("sound");
        }
        let error = at("a@b.c", "imap://user:s3cret@host");
        assert!(error.message().contains("mail.smtp_url") && !error.to_string().contains("s3cret"), "{error}");
    }
}
