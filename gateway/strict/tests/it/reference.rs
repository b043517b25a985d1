//! A second reading of RFC 9112, written for nothing but being plain: it wants all the bytes, copies a lot, and
//! shares no line with the scanner.

/// A request as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) old: bool,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: usize,
    /// Whether the body came to its end.
    pub(crate) whole: bool,
}

/// Reads requests until the bytes end; says what is wrong with them.
pub(crate) fn read(mut bytes: &[u8]) -> Result<Vec<Read>, String> {
    let mut requests = Vec::new();
    while !bytes.is_empty() {
        let (read, rest) = request(bytes)?;
        bytes = rest;
        let whole = read.whole;
        requests.push(read);
        if !whole {
            break;
        }
    }
    Ok(requests)
}

/// Lines, and what follows them.
type Lines<'a> = (Vec<Vec<u8>>, &'a [u8]);

fn lines(bytes: &[u8]) -> Result<Option<Lines<'_>>, String> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = &bytes[..end];
    let mut lines = vec![Vec::new()];
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'\r' if text.get(at + 1) == Some(&b'\n') => {
                lines.push(Vec::new());
                at += 1;
            }
            byte @ (0..=8 | 10..=31 | 127) => return Err(format!("byte {byte} in a line")),
            byte => lines.last_mut().expect("there is a line").push(byte),
        }
        at += 1;
    }
    Ok(Some((lines, &bytes[end + 4..])))
}

fn field(line: &[u8]) -> Result<(String, Vec<u8>), String> {
    let text: String = line.iter().map(|byte| *byte as char).collect();
    let (name, _) = text.split_once(':').ok_or("a header without a colon")?;
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        return Err(format!("a header with the name {name:?}"));
    }
    let value: Vec<u8> = line[name.len() + 1..].to_vec();
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let from = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let to = value.iter().rposition(|byte| !blank(byte)).map_or(from, |at| at + 1);
    Ok((name.to_ascii_lowercase(), value[from..to].to_vec()))
}

fn request(bytes: &[u8]) -> Result<(Read, &[u8]), String> {
    let (lines, rest) = lines(bytes)?.ok_or("half a head")?;
    let first = String::from_utf8(lines[0].clone()).map_err(|_| "a first line that is not ASCII")?;
    let words: Vec<&str> = first.split(' ').collect();
    let [method, target, version] = words[..] else { return Err(format!("the first line {first:?}")) };
    let old = match version {
        "HTTP/1.1" => false,
        "HTTP/1.0" => true,
        _ => return Err(format!("the version {version:?}")),
    };
    let upper = |c: char| c.is_ascii_uppercase() || c == '-';
    if method.is_empty() || !method.chars().all(upper) || method == "CONNECT" {
        return Err(format!("the method {method:?}"));
    }
    let form = target.starts_with('/') || (target == "*" && method == "OPTIONS") || target.to_ascii_lowercase().starts_with("http");
    if !form || !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(format!("the target {target:?}"));
    }
    let headers = lines[1..].iter().map(|line| field(line)).collect::<Result<Vec<_>, _>>()?;
    let all = |name: &str| headers.iter().filter(|header| header.0 == name).map(|header| &header.1[..]).collect::<Vec<_>>();
    let hosts = all("host").len();
    if hosts > 1 || (hosts == 0 && !old) {
        return Err(format!("{hosts} hosts"));
    }
    let mut read = Read {
        method: method.into(),
        target: target.into(),
        old,
        headers: headers.clone(),
        body: Vec::new(),
        trailers: 0,
        whole: true,
    };
    let rest = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => rest,
        ([length], []) => {
            let length = std::str::from_utf8(length).map_err(|_| "a length")?;
            if !length.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(format!("the length {length:?}"));
            }
            let length: usize = length.parse().map_err(|_| "a length that is too large")?;
            read.whole = rest.len() >= length;
            let (body, rest) = rest.split_at(length.min(rest.len()));
            read.body = body.to_vec();
            rest
        }
        ([], [b"chunked"]) if !old => chunks(rest, &mut read)?,
        (lengths, codings) => return Err(format!("{} lengths and {} codings", lengths.len(), codings.len())),
    };
    Ok((read, rest))
}

fn chunks<'a>(mut rest: &'a [u8], read: &mut Read) -> Result<&'a [u8], String> {
    loop {
        // What is cut off is not wrong yet.
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else {
            read.whole = false;
            return Ok(&[]);
        };
        let line: String = rest[..end].iter().map(|byte| *byte as char).collect();
        let size = line.split(';').next().unwrap_or_default();
        if size.is_empty() || !size.chars().all(|c| c.is_ascii_hexdigit()) || line.contains(['\r', '\n', '\0']) {
            return Err(format!("the size line {line:?}"));
        }
        let size = usize::from_str_radix(size, 16).map_err(|_| "a size that is too large")?;
        rest = &rest[end + 2..];
        if size == 0 {
            return trailers(rest, read);
        }
        read.body.extend_from_slice(&rest[..size.min(rest.len())]);
        if rest.len() < size + 2 {
            read.whole = false;
            let end = rest.get(size..).unwrap_or_default();
            return if b"\r\n".starts_with(end) { Ok(&[]) } else { Err("a chunk without its end".into()) };
        }
        if &rest[size..size + 2] != b"\r\n" {
            return Err("a chunk without its end".into());
        }
        rest = &rest[size + 2..];
    }
}

fn trailers<'a>(rest: &'a [u8], read: &mut Read) -> Result<&'a [u8], String> {
    if let Some(rest) = rest.strip_prefix(b"\r\n") {
        return Ok(rest);
    }
    let Some((lines, rest)) = lines(rest)? else {
        read.whole = false;
        return if rest.is_empty() { Ok(rest) } else { Err("half a trailer".into()) };
    };
    for line in &lines {
        let (name, _) = field(line)?;
        if ["content-length", "transfer-encoding", "host", "connection"].contains(&name.as_str()) {
            return Err(format!("the trailer {name}"));
        }
    }
    read.trailers = lines.len();
    Ok(rest)
}
