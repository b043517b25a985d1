//! The 609 routes as each proxy writes them down, and a request for each. Not for which they are; that is
//! `bench/gateway/routes.txt`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use measure::Outcome;

/// Returns the routes as lines of a proxy's configuration.
pub fn lines(peer: &str, routes: &[String]) -> String {
    let mut text = String::new();
    for (number, route) in routes.iter().enumerate() {
        let (pattern, plain) = (pattern(route), !route.contains('{'));
        // Writing to a String cannot fail.
        let _ = match peer {
            "nginx" if plain => writeln!(text, "        location = {route} {{ proxy_pass http://origin; }}"),
            "nginx" => writeln!(text, "        location ~ {pattern} {{ proxy_pass http://origin; }}"),
            "caddy" => writeln!(text, "\thandle {} {{\n\t\timport origin\n\t}}", stars(route)),
            "traefik" if plain => router(&mut text, number, &format!("Path(`{route}`)")),
            "traefik" => router(&mut text, number, &format!("PathRegexp(`{pattern}`)")),
            "portico" => writeln!(text, "[[routes]]\npath = \"{route}\"\nupstream = \"origin\"\naccess = \"public\"\n"),
            "envoy" if plain => entry(&mut text, &format!("path: \"{route}\"")),
            "envoy" => entry(&mut text, &template(route)),
            _ => Ok(()),
        };
    }
    text.trim_end().to_owned()
}

/// Writes the files that HAProxy reads its routes from.
pub fn tables(routes: &[String], folder: &Path) -> Outcome {
    let of = |wanted: bool| routes.iter().filter(move |route| route.contains('{') == wanted);
    let patterns: Vec<String> = of(true).map(|route| pattern(route)).collect();
    fs::write(folder.join("patterns.txt"), patterns.join("\n"))?;
    fs::write(folder.join("plain.txt"), of(false).cloned().collect::<Vec<_>>().join("\n"))?;
    Ok(())
}

/// Returns a path that the route takes.
pub fn example(route: &str) -> String {
    segments(route, |number| format!("v{number}x7"))
}

fn segments(route: &str, parameter: impl Fn(usize) -> String) -> String {
    let segment = |(number, segment): (usize, &str)| match segment.starts_with('{') {
        true => parameter(number),
        false => segment.to_owned(),
    };
    route.split('/').enumerate().map(segment).collect::<Vec<_>>().join("/")
}

fn pattern(route: &str) -> String {
    format!("^{}$", segments(route, |_| "[^/]+".to_owned()))
}

fn stars(route: &str) -> String {
    segments(route, |_| "*".to_owned())
}

fn router(text: &mut String, number: usize, rule: &str) -> std::fmt::Result {
    writeln!(text, "    route{number}:\n      rule: \"{rule}\"\n      service: origin")
}

fn entry(text: &mut String, matcher: &str) -> std::fmt::Result {
    writeln!(text, "                        - match: {{ {matcher} }}")?;
    writeln!(text, "                          route: {{ cluster: origin, timeout: 0s }}")
}

fn template(route: &str) -> String {
    format!(
        "path_match_policy: {{ name: t, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig, \
         path_template: \"{}\" }} }}",
        stars(route)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_written_for_each_and_its_example_fits() {
        assert_eq!(pattern("/a/{p1}/b"), "^/a/[^/]+/b$");
        assert_eq!(stars("/a/{p1}/b"), "/a/*/b");
        assert_eq!(example("/a/{p1}/b"), "/a/v2x7/b");
        for peer in ["nginx", "caddy", "traefik", "envoy", "portico"] {
            assert!(lines(peer, &["/a".to_owned(), "/a/{p1}".to_owned()]).matches("/a").count() == 2, "{peer}");
        }
    }
}
