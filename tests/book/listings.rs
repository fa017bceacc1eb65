//! Every Rust block of the book is run, or is an item that the crate's own build compiles.
//!
//! `mdbook test` prints no counts, and passes a chapter whose blocks are all marked `ignore`. So
//! this census counts them, and lets `ignore` stand on one kind of block alone: an anchored include
//! out of the crate, its tests or its experiments.

use crate::includes::{directives, from_root};
use crate::source::{Block, Chapter, blocks, chapters, options, root};
use mdbook_driver::MDBook;
use pulldown_cmark::{Event, Parser};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The languages of blocks that are not Rust. Any other word might be Rust by another name: a page
/// colours `rs` as Rust, and rustdoc takes a lone `ignore` for a listing that it need not run.
const OTHER_LANGUAGES: [&str; 5] = ["c", "json", "python", "sh", "text"];

/// How a Rust block is held to the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// rustdoc compiles it and runs it.
    Run,
    /// rustdoc runs it and it must panic.
    ShouldPanic,
    /// rustdoc compiles it and that must fail.
    CompileFail,
    /// It is an anchored item of the crate, which cargo compiles.
    Included,
}

/// What a block is: `None` if it is not Rust, an error if nothing holds it to the truth.
fn kind(block: &Block) -> Result<Option<Kind>, String> {
    let info = match block.info.as_deref().map(str::trim) {
        Some("") | None => return Err("name its language (rustdoc would run it)".to_owned()),
        Some(info) => info,
    };
    let words: Vec<_> = info
        .split([',', ' '])
        .filter(|word| !word.is_empty())
        .collect();
    if OTHER_LANGUAGES.contains(&words[0]) && words.len() == 1 {
        return Ok(None);
    }
    if words[0] != "rust" {
        return Err(format!("`{info}` names no language of this book"));
    }
    let mut kind = Kind::Run;
    for word in &words[1..] {
        kind = match *word {
            "should_panic" => Kind::ShouldPanic,
            "compile_fail" => Kind::CompileFail,
            "ignore" => Kind::Included,
            other => return Err(format!("`{other}` is not used in this book")),
        };
    }
    if kind == Kind::Included && !is_anchored_include(&block.body) {
        return Err("`ignore` is for an anchored include from the crate alone".to_owned());
    }
    Ok(Some(kind))
}

/// Whether a block is nothing but includes of anchored items from the crate.
fn is_anchored_include(body: &str) -> bool {
    let mut lines = body.lines().map(str::trim).filter(|line| !line.is_empty());
    let from_the_crate = |line: &str| {
        let found = directives(line);
        let in_crate = ["src/", "tests/", "benches/", "book/experiments/"];
        line.starts_with("{{#")
            && line.ends_with("}}")
            && matches!(&found[..], [one] if one.anchor.is_some()
                && in_crate.iter().any(|folder| from_root(&one.file).starts_with(folder)))
    };
    lines.clone().next().is_some() && lines.all(from_the_crate)
}

/// Counts a chapter's Rust blocks by kind, and names those that nothing holds to the truth.
fn census(chapter: &Chapter) -> (BTreeMap<Kind, usize>, Vec<String>) {
    let (mut counts, mut problems) = (BTreeMap::new(), Vec::new());
    for block in blocks(&chapter.text) {
        match kind(&block) {
            Ok(Some(kind)) => *counts.entry(kind).or_default() += 1,
            Ok(None) => {}
            Err(what) => problems.push(format!("{}:{}: {what}", chapter.path, block.line)),
        }
    }
    for event in Parser::new_ext(&chapter.text, options()) {
        if let Event::Html(html) = event
            && html.contains("```")
        {
            let what = "a listing inside HTML is not run: leave an empty line before it";
            problems.push(format!("{}: {what}", chapter.path));
        }
    }
    (counts, problems)
}

/// Compiles the crate into a folder of its own and returns the folder that holds its libraries.
///
/// A folder that other builds share comes to hold two builds of the crate (from `cargo check`, other
/// flags, another version), between which rustdoc cannot choose: E0464. This one is swept: what the
/// build just made stays, every other library goes.
fn libraries() -> PathBuf {
    let target = root().join("target/listings");
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args([
            "build",
            "--lib",
            "--locked",
            "--message-format=json",
            "--target-dir",
        ])
        .arg(&target)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the crate does not build: {errors}"
    );
    let messages = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let folder = target.join("debug/deps");
    sweep(&folder, &made(&messages));
    folder
}

/// The libraries that cargo says it made or kept: file names, less what follows the dot.
fn made(messages: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in messages.lines() {
        let message: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        for file in message["filenames"].as_array().into_iter().flatten() {
            let name = Path::new(file.as_str().unwrap()).file_stem().unwrap();
            names.insert(name.to_str().unwrap().to_owned());
        }
    }
    names
}

/// Removes the libraries in `folder` that are not named in `keep`.
fn sweep(folder: &Path, keep: &BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("the build made its folder") {
        let path = entry.expect("a folder can be read").path();
        let is_library = path
            .extension()
            .is_some_and(|kind| kind == "rlib" || kind == "rmeta");
        let name = path.file_stem().unwrap().to_str().unwrap();
        if is_library && !keep.contains(name) {
            std::fs::remove_file(&path).expect("a stale library can be removed");
        }
    }
}

/// Runs all listings of the book at `root` as `mdbook test` does.
fn run(root: &Path, libraries: &Path) -> bool {
    let mut book = MDBook::load(root).expect("the book can be read");
    book.test(vec![libraries.to_str().expect("UTF-8")]).is_ok()
}

#[test]
fn every_listing_runs() {
    assert!(
        run(&root(), &libraries()),
        "a listing fails: see rustdoc's words above"
    );
}

#[test]
fn every_rust_block_is_run_or_comes_from_the_crate() {
    let mut all = Vec::new();
    let mut total = BTreeMap::<Kind, usize>::new();
    for chapter in chapters() {
        let (counts, problems) = census(&chapter);
        println!("{:40} {counts:?}", chapter.path);
        for (kind, count) in counts {
            *total.entry(kind).or_default() += count;
        }
        all.extend(problems);
    }
    println!("{:40} {total:?}", "all");
    assert!(all.is_empty(), "{all:#?}");
}

mod a_broken_sample {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        census(&Chapter {
            name: "C".to_owned(),
            number: None,
            path: "c.md".to_owned(),
            text: text.to_owned(),
        })
        .1
    }

    #[test]
    fn is_told_from_a_good_one() {
        for good in [
            "```rust\nf();\n```\n",
            "```rust,should_panic\nf();\n```\n",
            "```rust,ignore\n{{#include ../src/f.rs:f}}\n```\n",
            "```rust,ignore\n{{#include experiments/f.rs:f}}\n\n{{#include ../src/f.rs:g}}\n```\n",
            "```text\nf();\n```\n",
            "<details>\n\n```rust\nf();\n```\n\n</details>\n",
        ] {
            assert_eq!(problems(good), [""; 0], "{good}");
        }
    }

    #[test]
    fn that_nothing_holds_to_the_truth_is_noticed() {
        for bad in [
            "```\nf();\n```\n",
            "    f();\n",
            "```rs\nf();\n```\n",
            "```Rust\nf();\n```\n",
            "```ignore\nf();\n```\n",
            "```text,rust,ignore\nf();\n```\n",
            "```{.rust .ignore}\nf();\n```\n",
            "~~~rust,ignore\nf();\n~~~\n",
            "```rust,ignore\nf();\n```\n",
            "```rust,no_run\nf();\n```\n",
            "```rust ignore\n{{#include ../src/f.rs:f}}\nand_more();\n```\n",
            "```rust,ignore\n{{#include ../src/f.rs}}\n```\n",
            "```rust,ignore\n{{#include evidence/f.rs:f}}\n```\n",
            "<details>\n```rust\nf();\n```\n</details>\n",
        ] {
            assert!(!problems(bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn whose_listing_fails_is_noticed() {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("listing-that-fails");
        std::fs::create_dir_all(folder.join("src")).unwrap();
        std::fs::write(folder.join("book.toml"), "[rust]\nedition = \"2024\"\n").unwrap();
        std::fs::write(folder.join("src/SUMMARY.md"), "[C](c.md)\n").unwrap();
        for (code, runs) in [
            ("assert_eq!(1 + 1, 2);", true),
            ("assert_eq!(1 + 1, 3);", false),
        ] {
            std::fs::write(folder.join("src/c.md"), format!("```rust\n{code}\n```\n")).unwrap();
            assert_eq!(run(&folder, &folder), runs, "{code}");
        }
    }

    #[test]
    fn of_a_stale_library_is_swept_away() {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stale-library");
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["liba-1.rlib", "liba-1.rmeta", "liba-2.rlib", "liba-2.rmeta"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let messages = r#"{"reason":"compiler-artifact","filenames":["/x/deps/liba-2.rlib"]}"#;
        sweep(&folder, &made(messages));
        let left: BTreeSet<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(
            left,
            ["liba-2.rlib", "liba-2.rmeta"].map(str::to_owned).into()
        );
    }
}
