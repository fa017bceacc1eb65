//! The book as its authors write it: chapters, and the code blocks in them.

use mdbook_driver::MDBook;
use mdbook_driver::book::BookItem;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use std::path::{Path, PathBuf};

/// A page of the book before any include is expanded.
pub struct Chapter {
    /// Its title in the contents.
    pub name: String,
    /// Its number in the contents; front and back matter have none.
    pub number: Option<String>,
    /// Its file, seen from `book/`.
    pub path: String,
    /// Its Markdown.
    pub text: String,
}

/// The repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All pages named in `book/SUMMARY.md` that are not drafts.
pub fn chapters() -> Vec<Chapter> {
    let book = MDBook::load(root()).expect("book.toml and book/SUMMARY.md can be read");
    let chapters: Vec<_> = book
        .iter()
        .filter_map(|item| match item {
            BookItem::Chapter(chapter) if !chapter.is_draft_chapter() => Some(Chapter {
                name: chapter.name.clone(),
                number: chapter.number.as_ref().map(ToString::to_string),
                path: chapter.path.as_ref()?.to_str()?.to_owned(),
                text: chapter.content.clone(),
            }),
            _ => None,
        })
        .collect();
    assert!(!chapters.is_empty(), "the book has no pages");
    chapters
}

/// All files below `folder` whose names end in one of `endings`, seen from `root`, sorted.
pub fn files(root: &Path, folder: &str, endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(root.join(folder)) else {
        return found;
    };
    for entry in entries.map(|entry| entry.expect("a folder can be read")) {
        let path = format!("{folder}/{}", entry.file_name().to_str().expect("UTF-8"));
        let path = path.trim_start_matches("./").to_owned();
        if entry.path().is_dir() {
            found.extend(files(root, &path, endings));
        } else if endings.iter().any(|ending| path.ends_with(ending)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The files that may carry anchors. The samples in these checks are none.
pub fn anchored_files() -> Vec<String> {
    let folders = ["src", "tests", "benches", "book/experiments"];
    let all = folders.iter().flat_map(|f| files(&root(), f, &[".rs"]));
    let mut all: Vec<_> = all.filter(|f| !f.starts_with("tests/book/")).collect();
    all.push("README.md".to_owned());
    all
}

/// A code block of a chapter.
pub struct Block {
    /// What stands behind the fence, or nothing; an indented block has `None`.
    pub info: Option<String>,
    /// Its text.
    pub body: String,
    /// The line of the chapter where it begins.
    pub line: usize,
}

/// The code blocks of a Markdown text, as rustdoc and mdBook see them.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                inside = true;
                blocks.push(Block {
                    info: match kind {
                        CodeBlockKind::Fenced(info) => Some(info.into_string()),
                        CodeBlockKind::Indented => None,
                    },
                    body: String::new(),
                    line: text[..range.start].matches('\n').count() + 1,
                });
            }
            Event::End(TagEnd::CodeBlock) => inside = false,
            Event::Text(part) if inside => blocks.last_mut().unwrap().body.push_str(&part),
            _ => {}
        }
    }
    blocks
}

/// The extensions of Markdown that mdBook switches on.
pub fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_DEFINITION_LIST
        | Options::ENABLE_GFM
}

#[test]
fn blocks_are_found_with_their_lines() {
    let found =
        blocks("a\n\n```rust,ignore\nlet x;\n```\n\n- b\n\n  ```\n  c\n  ```\n\nd\n\n    e\n");
    let infos: Vec<_> = found.iter().map(|b| (b.info.as_deref(), b.line)).collect();
    assert_eq!(infos, [(Some("rust,ignore"), 3), (Some(""), 9), (None, 15)]);
    assert_eq!(found[0].body, "let x;\n");
}
