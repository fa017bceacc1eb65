//! Nothing lies about unused, and the lists at the back are in order.

use crate::includes::{pieces, unquoted};
use crate::source::{Chapter, anchored_files, chapters, files, root};

/// The files of `book/evidence/` that no chapter shows.
fn unshown(chapters: &[Chapter], evidence: &[String]) -> Vec<String> {
    let name = |path: &str| path.strip_prefix("book/").unwrap_or(path).to_owned();
    evidence
        .iter()
        .filter(|path| !chapters.iter().any(|c| c.text.contains(&name(path))))
        .map(|path| format!("no chapter shows {path}"))
        .collect()
}

/// The sources on the page of references that no other page cites. Each has an anchor of its own.
fn uncited(references: &str, chapters: &[Chapter]) -> Vec<String> {
    let ids = references.split("<a id=\"").skip(1);
    ids.map(|rest| rest.split('"').next().unwrap_or_default())
        .filter(|id| {
            let link = format!("(references.md#{id})");
            !chapters.iter().any(|chapter| chapter.text.contains(&link))
        })
        .map(|id| format!("nobody cites `{id}`"))
        .collect()
}

/// The entries of a list that stand before one that comes before them in the alphabet.
fn disorder(entries: &[&str]) -> Vec<String> {
    let key = |entry: &str| entry.to_lowercase().replace(['-', '_'], " ");
    entries
        .windows(2)
        .filter(|pair| key(pair[0]) > key(pair[1]))
        .map(|pair| format!("`{}` stands before `{}`", pair[0], pair[1]))
        .collect()
}

/// The terms of a definition list.
fn terms(text: &str) -> Vec<&str> {
    let lines: Vec<_> = text.lines().collect();
    let is_term = |pair: &&[&str]| pair[1].starts_with(": ");
    lines
        .windows(2)
        .filter(is_term)
        .map(|pair| pair[0])
        .collect()
}

/// The text of a page.
fn page(chapters: &[Chapter], path: &str) -> String {
    let page = chapters.iter().find(|chapter| chapter.path == path);
    page.expect("the page is in the contents").text.clone()
}

#[test]
fn every_source_is_cited() {
    let chapters = chapters();
    let references = page(&chapters, "references.md");
    assert!(
        references.contains("<a id=\""),
        "the references have no anchors"
    );
    let problems = uncited(&references, &chapters);
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn glossary_and_references_are_in_alphabetical_order() {
    let chapters = chapters();
    let glossary = page(&chapters, "glossary.md");
    let references = page(&chapters, "references.md");
    let sources = references.split("<a id=\"").skip(1);
    let sources: Vec<_> = sources
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert!(terms(&glossary).len() > 1 && sources.len() > 1);
    let problems = [disorder(&terms(&glossary)), disorder(&sources)].concat();
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn every_file_of_evidence_is_shown() {
    let evidence = files(&root(), "book/evidence", &[""]);
    let problems = unshown(&chapters(), &evidence);
    assert!(!evidence.is_empty());
    assert!(problems.is_empty() || unfinished(), "{problems:#?}");
}

#[test]
fn every_anchor_is_quoted() {
    let mut all = Vec::new();
    for file in anchored_files() {
        let text = std::fs::read_to_string(root().join(&file)).unwrap();
        all.extend(
            pieces(&text)
                .0
                .into_iter()
                .map(|piece| (file.clone(), piece.anchor)),
        );
    }
    let problems = unquoted(&chapters(), &all);
    assert!(!all.is_empty());
    assert!(problems.is_empty() || unfinished(), "{problems:#?}");
}

fn unfinished() -> bool {
    let being_written = |chapter: &Chapter| chapter.text.contains("This chapter is being written.");
    chapters().iter().any(being_written)
}

mod a_broken_sample {
    use super::*;

    fn chapter(text: &str) -> [Chapter; 1] {
        [Chapter {
            name: "C".to_owned(),
            number: None,
            path: "c.md".to_owned(),
            text: text.to_owned(),
        }]
    }

    #[test]
    fn with_a_file_that_is_not_shown_is_noticed() {
        let evidence = ["book/evidence/a.svg".to_owned()];
        assert_eq!(
            unshown(&chapter("![A](evidence/a.svg)"), &evidence),
            [""; 0]
        );
        assert_eq!(
            unshown(&chapter("![A](evidence/b.svg)"), &evidence).len(),
            1
        );
    }

    #[test]
    fn with_a_source_that_is_not_cited_is_noticed() {
        let references = "<a id=\"a-2014\"></a>**A 2014.**";
        assert_eq!(
            uncited(references, &chapter("[2014](references.md#a-2014)")),
            [""; 0]
        );
        assert_eq!(uncited(references, &chapter("A 2014")).len(), 1);
    }

    #[test]
    fn out_of_order_is_noticed() {
        assert_eq!(
            terms("Zero point\n: Z.\n\nCode\n: C.\n"),
            ["Zero point", "Code"]
        );
        assert_eq!(disorder(&["Code", "compute-bound", "Zero point"]), [""; 0]);
        assert_eq!(disorder(&["Zero point", "Code"]).len(), 1);
    }
}
