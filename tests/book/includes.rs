//! Every `{{#include}}` finds what it names. mdBook does not check: a missing anchor gives an empty
//! listing and a missing file gives the raw directive, both with exit status 0.

use crate::source::{Chapter, anchored_files, blocks, chapters, root};
use std::collections::BTreeSet;

const MOST_LINES: usize = 40;
const MOST_COLUMNS: usize = 88;

/// A directive such as `{{#include ../src/qparams.rs:affine}}`.
#[derive(Debug, PartialEq)]
pub struct Directive {
    /// `include` or `rustdoc_include`, or something that mdBook knows and this book does not use.
    pub kind: String,
    /// The file, seen from the chapter.
    pub file: String,
    /// What follows the colon.
    pub anchor: Option<String>,
}

/// All directives of a text, except those with a backslash before them.
pub fn directives(text: &str) -> Vec<Directive> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{#") {
        let escaped = rest[..start].ends_with('\\');
        rest = &rest[start + 3..];
        let Some(end) = rest.find("}}") else { break };
        let mut words = rest[..end].split_whitespace();
        if let (false, Some(kind), Some(path)) = (escaped, words.next(), words.next()) {
            let (file, anchor) = match path.split_once(':') {
                Some((file, anchor)) => (file, Some(anchor.to_owned())),
                None => (path, None),
            };
            found.push(Directive {
                kind: kind.to_owned(),
                file: file.to_owned(),
                anchor,
            });
        }
    }
    found
}

/// A piece of a file between two anchor lines.
#[derive(Debug, PartialEq)]
pub struct Piece {
    pub anchor: String,
    pub lines: Vec<String>,
}

/// The anchored pieces of a file, and what is wrong with its anchors: each is opened once and
/// closed once, none is nested in another, none is empty.
pub fn pieces(text: &str) -> (Vec<Piece>, Vec<String>) {
    let (mut pieces, mut problems) = (Vec::<Piece>::new(), Vec::new());
    let mut open: Option<Piece> = None;
    for line in text.lines() {
        if let Some(name) = anchor_name(line, "ANCHOR_END:") {
            match open.take() {
                Some(piece) if piece.anchor == name => {
                    if piece.lines.iter().all(|line| line.trim().is_empty()) {
                        problems.push(format!("`{name}` is empty"));
                    }
                    if pieces.iter().any(|other| other.anchor == name) {
                        problems.push(format!("`{name}` is opened twice"));
                    }
                    pieces.push(piece);
                }
                other => {
                    problems.push(format!("`{name}` is closed, but is not the one open"));
                    open = other;
                }
            }
        } else if let Some(name) = anchor_name(line, "ANCHOR:") {
            if let Some(outer) = &open {
                problems.push(format!("`{name}` is opened inside `{}`", outer.anchor));
            } else {
                open = Some(Piece {
                    anchor: name,
                    lines: Vec::new(),
                });
            }
        } else if let Some(piece) = &mut open {
            piece.lines.push(line.to_owned());
        }
    }
    problems.extend(open.map(|piece| format!("`{}` is never closed", piece.anchor)));
    (pieces, problems)
}

fn anchor_name(line: &str, marker: &str) -> Option<String> {
    let name = line.split_once(marker)?.1.trim_start();
    let end = name
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
        .unwrap_or(name.len());
    (end > 0).then(|| name[..end].to_owned())
}

/// What is wrong with the directives of one chapter. `read` returns the text of a file, named as
/// the chapter names it.
pub fn check(chapter: &Chapter, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut problems = Vec::new();
    for directive in directives(&chapter.text) {
        let Directive { kind, file, anchor } = &directive;
        let mut wrong = |what: String| problems.push(format!("{}: {file}: {what}", chapter.path));
        if kind != "include" && kind != "rustdoc_include" {
            wrong(format!("`{kind}` is not a directive of this book"));
            continue;
        }
        let Some(text) = read(file) else {
            wrong("no such file".to_owned());
            continue;
        };
        match anchor {
            None if file.ends_with(".rs") => wrong("a listing names an anchor".to_owned()),
            None if text.trim().is_empty() => wrong("is empty".to_owned()),
            None => {}
            Some(anchor) => {
                let (pieces, bad) = pieces(&text);
                bad.into_iter().for_each(&mut wrong);
                match pieces.iter().find(|piece| piece.anchor == *anchor) {
                    None => wrong(format!("no anchor `{anchor}`")),
                    Some(piece) if file.ends_with(".rs") => {
                        too_large(&piece.lines)
                            .into_iter()
                            .for_each(|what| wrong(format!("`{anchor}` {what}")));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    for block in blocks(&chapter.text) {
        if block
            .info
            .as_deref()
            .is_some_and(|info| info.starts_with("rust"))
        {
            let visible: Vec<_> = block
                .body
                .lines()
                .filter(|line| *line != "#" && !line.trim_start().starts_with("# "))
                .map(str::to_owned)
                .collect();
            for what in too_large(&visible) {
                problems.push(format!("{}:{}: listing {what}", chapter.path, block.line));
            }
        }
    }
    problems
}

fn too_large(lines: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    if lines.len() > MOST_LINES {
        problems.push(format!("has {} lines, {MOST_LINES} at most", lines.len()));
    }
    let widest = lines.iter().map(|line| line.chars().count()).max();
    if let Some(widest) = widest.filter(|&widest| widest > MOST_COLUMNS) {
        problems.push(format!("is {widest} columns wide, {MOST_COLUMNS} at most"));
    }
    problems
}

/// The anchors that no chapter quotes, out of `all`: pairs of a file, seen from the repository, and
/// a name.
pub fn unquoted(chapters: &[Chapter], all: &[(String, String)]) -> Vec<String> {
    let quoted: BTreeSet<_> = chapters
        .iter()
        .flat_map(|chapter| directives(&chapter.text))
        .filter_map(|d| Some((from_root(&d.file), d.anchor?)))
        .collect();
    all.iter()
        .filter(|pair| !quoted.contains(*pair))
        .map(|(file, anchor)| format!("{file}: no chapter quotes `{anchor}`"))
        .collect()
}

/// A path that a chapter names (`../src/x.rs`, `evidence/x.md`), seen from the repository. All
/// chapters lie in `book/` itself.
pub fn from_root(path: &str) -> String {
    match path.strip_prefix("../") {
        Some(path) => path.to_owned(),
        None => format!("book/{path}"),
    }
}

fn read(file: &str) -> Option<String> {
    std::fs::read_to_string(root().join("book").join(file)).ok()
}

#[test]
fn every_include_finds_what_it_names() {
    let problems: Vec<_> = chapters().iter().flat_map(|c| check(c, read)).collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn every_anchor_is_whole() {
    let mut problems = Vec::new();
    for file in anchored_files() {
        let text = std::fs::read_to_string(root().join(&file)).unwrap();
        problems.extend(pieces(&text).1.iter().map(|what| format!("{file}: {what}")));
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

mod a_broken_sample {
    use super::*;

    const GOOD: &str = "/// Doc.\n// ANCHOR: f\nfn f() {}\n// ANCHOR_END: f\n";

    fn problems(markdown: &str, file: &'static str) -> Vec<String> {
        let chapter = Chapter {
            name: "C".to_owned(),
            number: None,
            path: "c.md".to_owned(),
            text: markdown.to_owned(),
        };
        check(&chapter, |path| {
            (path == "../src/f.rs").then(|| file.to_owned())
        })
    }

    #[test]
    fn is_told_from_a_good_one() {
        assert_eq!(problems("{{#include ../src/f.rs:f}}", GOOD), [""; 0]);
        assert_eq!(problems("\\{{#include ../src/g.rs:f}}", GOOD), [""; 0]);
    }

    #[test]
    fn with_a_missing_file_or_anchor_is_noticed() {
        assert!(problems("{{#include ../src/g.rs:f}}", GOOD)[0].contains("no such file"));
        assert!(problems("{{#include ../src/f.rs:g}}", GOOD)[0].contains("no anchor `g`"));
        assert!(problems("{{#include ../src/f.rs}}", GOOD)[0].contains("names an anchor"));
        assert!(problems("{{#playground ../src/f.rs}}", GOOD)[0].contains("not a directive"));
    }

    #[test]
    fn with_bad_anchors_is_noticed() {
        let bad = |text: &str| pieces(text).1.join(" ");
        assert!(bad("ANCHOR: a\nx\n").contains("never closed"));
        assert!(bad("ANCHOR: a\nANCHOR_END: a\n").contains("empty"));
        assert!(bad("ANCHOR: a\nx\nANCHOR_END: b\n").contains("not the one open"));
        assert!(bad("ANCHOR: a\nx\nANCHOR: b\nANCHOR_END: a").contains("inside `a`"));
        let twice = "ANCHOR: a\nx\nANCHOR_END: a\n".repeat(2);
        assert!(bad(&twice).contains("opened twice"));
    }

    #[test]
    fn that_is_too_long_or_too_wide_is_noticed() {
        let wide = format!("```rust\n{}\n```\n", "x".repeat(MOST_COLUMNS + 1));
        assert!(problems(&wide, GOOD)[0].contains("columns"));
        let long = format!("```rust\n{}```\n", "x();\n".repeat(MOST_LINES + 1));
        assert!(problems(&long, GOOD)[0].contains("lines"));
        let hidden = format!("```rust\n{}```\n", "# x();\n".repeat(MOST_LINES + 1));
        assert_eq!(problems(&hidden, GOOD), [""; 0]);
    }

    #[test]
    fn with_an_anchor_that_nobody_quotes_is_noticed() {
        let all = [("src/f.rs".to_owned(), "f".to_owned())];
        assert_eq!(unquoted(&[], &all).len(), 1);
    }
}
