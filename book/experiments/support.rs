//! What every experiment shares: collecting its evidence, writing it, and comparing it.
//!
//! An experiment is a function that fills an [`Evidence`]. Run as a program, it prints its tables
//! and writes the files to `book/evidence/`, from where the chapters include them. Run by
//! `tests/evidence.rs`, the same function is compared with the files that are committed.
#![allow(dead_code, unreachable_pub)] // each experiment uses its own part of this module

pub mod clock;
pub mod digits;
pub mod figure;
pub mod formats;
pub mod networks;
pub mod training;
pub mod widths;

use std::error::Error;
use std::path::PathBuf;

/// What an experiment returns: a plain error stops it.
pub type Outcome = Result<(), Box<dyn Error>>;

/// The number with a thin space between groups of three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = digits[..first].to_owned();
    for start in (first..digits.len()).step_by(3) {
        if !text.is_empty() {
            text.push('\u{202f}');
        }
        text += &digits[start..start + 3];
    }
    text
}

/// The files that one experiment makes, by name.
#[derive(Default)]
pub struct Evidence {
    files: Vec<(String, String)>,
    timings: Vec<String>,
    measuring: bool,
}

impl Evidence {
    /// Adds a Markdown table or a text; `name` ends in `.md` or `.txt`. It is printed, too.
    pub fn text(&mut self, name: &str, content: impl Into<String>) {
        let content = content.into();
        println!("── {name}\n{content}");
        self.add(name, content);
    }

    /// Adds a figure made by [`figure::svg`]; `name` ends in `.svg`.
    pub fn figure(&mut self, name: &str, svg: String) {
        println!("── {name} ({} bytes)", svg.len());
        self.add(name, svg);
    }

    /// Adds a text or a figure that depends on the machine. `measure` runs only in the program,
    /// never in a test, and nobody compares what it returns; it should name the machine.
    pub fn timing(
        &mut self,
        name: &str,
        measure: impl FnOnce() -> Result<String, Box<dyn Error>>,
    ) -> Outcome {
        self.timings.push(name.to_owned());
        if self.measuring {
            let content = measure()?;
            if name.ends_with(".svg") {
                self.figure(name, content);
            } else {
                self.text(name, content);
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &str, mut content: String) {
        if !content.ends_with('\n') {
            content.push('\n');
        }
        self.files.push((name.to_owned(), content));
    }
}

/// Runs an experiment as a program: prints, and writes the files to `book/evidence/`.
pub fn write(run: fn(&mut Evidence) -> Outcome) -> Outcome {
    let mut evidence = Evidence {
        measuring: true,
        ..Evidence::default()
    };
    run(&mut evidence)?;
    for (name, content) in &evidence.files {
        std::fs::write(folder().join(name), content)?;
    }
    println!("wrote {} files to book/evidence", evidence.files.len());
    Ok(())
}

/// Runs an experiment again and names each committed file that is not what it makes. Integers and
/// words are compared exactly, decimals within 1 part in 1000 (their last digit may depend on the
/// machine's mathematical library).
pub fn differences(run: fn(&mut Evidence) -> Outcome) -> Result<Vec<String>, Box<dyn Error>> {
    let mut evidence = Evidence::default();
    run(&mut evidence)?;
    if evidence.files.is_empty() && evidence.timings.is_empty() {
        return Ok(vec!["the experiment makes no evidence at all".to_owned()]);
    }
    let mut found = Vec::new();
    for (name, made) in &evidence.files {
        match std::fs::read_to_string(folder().join(name)) {
            Err(error) => found.push(format!("{name}: {error}")),
            Ok(committed) => {
                found.extend(first_difference(&committed, made).map(|d| format!("{name}: {d}")));
            }
        }
    }
    Ok(found)
}

/// The names of the files that an experiment makes.
pub fn names(run: fn(&mut Evidence) -> Outcome) -> Result<Vec<String>, Box<dyn Error>> {
    let mut evidence = Evidence::default();
    run(&mut evidence)?;
    let compared = evidence.files.into_iter().map(|(name, _)| name);
    Ok(compared.chain(evidence.timings).collect())
}

/// The processor and the compiler target, to be written beside a timing.
pub fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split(": ").nth(1)).unwrap_or("?")
    };
    format!(
        "{} (family {}, model {}), {}",
        field("model name"),
        field("cpu family"),
        field("model\t"),
        std::env::consts::ARCH
    )
}

/// Where the evidence is kept.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("book/evidence")
}

fn first_difference(committed: &str, made: &str) -> Option<String> {
    let (old, new) = (tokens(committed), tokens(made));
    let differs = old.iter().zip(&new).find(|(a, b)| !same(a, b));
    match differs {
        Some((a, b)) => Some(format!("committed `{a}`, made now `{b}`")),
        None if old.len() != new.len() => Some(format!(
            "committed {} words and numbers, made now {}",
            old.len(),
            new.len()
        )),
        None => None,
    }
}

/// Splits a text into numbers and what stands between them.
fn tokens(text: &str) -> Vec<&str> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let kind = is_number(first);
        let end = rest.find(|c| is_number(c) != kind).unwrap_or(rest.len());
        tokens.push(&rest[..end]);
        rest = &rest[end..];
    }
    tokens
}

fn same(a: &str, b: &str) -> bool {
    let decimal = |t: &str| t.contains('.').then(|| t.parse::<f64>().ok()).flatten();
    match (decimal(a), decimal(b)) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-3 * a.abs().max(b.abs()),
        _ => a == b,
    }
}
