//! Every chapter has the parts that a reader may rely on.

use crate::source::{Chapter, chapters};

/// What a numbered chapter lacks.
fn check(chapter: &Chapter) -> Vec<String> {
    let text = &chapter.text;
    let mut problems = Vec::new();
    let mut lack = |holds: bool, what: &str| {
        if !holds {
            problems.push(format!("{}: {what}", chapter.path));
        }
    };
    let title = format!("# {}", chapter.name);
    lack(
        text.lines().next() == Some(&title),
        "begins with its title in the contents",
    );
    let opening = text.split("\n## ").next().unwrap_or_default();
    lack(
        opening.lines().skip(1).any(|line| line.contains('?')),
        "opens with its question",
    );
    for name in ["Exercises", "In short", "Further reading"] {
        lack(
            section(text, name).is_some(),
            &format!("has a section `{name}`"),
        );
    }
    let exercises = section(text, "Exercises").unwrap_or_default();
    let solutions = exercises.matches("<details>").count();
    lack(solutions >= 3, "has three exercises with a folded solution");
    let short = section(text, "In short").unwrap_or_default();
    let points = short.lines().filter(|line| line.starts_with("- ")).count();
    lack(
        !short.trim().is_empty() && points <= 5,
        "says it in short, in five points at most",
    );
    problems
}

/// The text of a section of the second level.
fn section<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let heading = format!("\n## {name}\n");
    let start = text.find(&heading)? + heading.len();
    let rest = &text[start..];
    Some(rest.find("\n## ").map_or(rest, |end| &rest[..end]))
}

#[test]
fn every_chapter_has_the_parts_that_readers_rely_on() {
    let problems: Vec<_> = chapters()
        .iter()
        .filter(|chapter| chapter.number.is_some())
        .filter(|chapter| !chapter.text.contains("This chapter is being written."))
        .flat_map(check)
        .collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

mod a_broken_sample {
    use super::*;

    const GOOD: &str = "# C\n\nWhy?\n\n## A\n\n## Exercises\n\n<details>\n\n<details>\n\n<details>\n\n\
        ## In short\n\n- a\n\n## Further reading\n\n- b\n";

    fn problems(text: &str) -> usize {
        let chapter = Chapter {
            name: "C".to_owned(),
            number: Some("1.".to_owned()),
            path: "c.md".to_owned(),
            text: text.to_owned(),
        };
        check(&chapter).len()
    }

    #[test]
    fn lacks_what_is_taken_from_it() {
        assert_eq!(problems(GOOD), 0);
        for part in ["# C", "Why?", "## Further reading", "<details>"] {
            assert_eq!(problems(&GOOD.replacen(part, "x", 1)), 1, "{part}");
        }
        assert_eq!(problems(&GOOD.replace("## Exercises", "")), 2);
        assert_eq!(problems(&GOOD.replace("## In short", "")), 2);
        assert_eq!(problems(&GOOD.replace("- a", "")), 1);
        assert_eq!(problems(&GOOD.replace("- a", &"- a\n".repeat(6))), 1);
    }
}
