//! Checks a quantizer of your own, in any language, against the golden vectors.
//!
//! ```text
//! cargo run --example check_quantizer -- questions          prints the questions, one a line
//! cargo run --example check_quantizer -- answers FILE       checks the answers in FILE
//! cargo run --example check_quantizer -- run COMMAND ARG…   asks a program, line by line
//! ```
//!
//! A line `quantize QMIN QMAX SCALE ZERO_POINT X X …` is answered by a line of codes, a line
//! `choose QMIN QMAX X X …` by a line with a scale and a zero point. An empty line skips.

pub mod golden;

use golden::Vector;
use golden::mistakes::{MISTAKES, Mistake};
use std::error::Error;
use std::io::Write;
use std::process::{Command, ExitCode, Stdio};

pub fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match answer(&arguments) {
        Ok(Ok(said)) => {
            print!("{said}");
            ExitCode::SUCCESS
        }
        Ok(Err(complaint)) => {
            print!("{complaint}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// What is to be printed, as a complaint if the answers are not all right.
fn answer(arguments: &[String]) -> Result<Result<String, String>, Box<dyn Error>> {
    let vectors = golden::load()?;
    let answers = match arguments {
        [word] if word == "questions" => return Ok(Ok(questions(&vectors))),
        [word, file] if word == "answers" => std::fs::read_to_string(file)?,
        [word, command, rest @ ..] if word == "run" => {
            ask(Command::new(command).args(rest), &vectors)?
        }
        _ => return Err("say `questions`, `answers FILE` or `run COMMAND ARG…`".into()),
    };
    Ok(verdict(&vectors, &answers))
}

/// All questions, one a line.
pub fn questions(vectors: &[Vector]) -> String {
    vectors.iter().map(|v| v.question.line() + "\n").collect()
}

/// What a program prints when the questions are its input.
pub fn ask(command: &mut Command, vectors: &[Vector]) -> Result<String, Box<dyn Error>> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (input, questions) = (child.stdin.take(), questions(vectors));
    // From a thread of its own: the program may answer before it has read everything.
    let writer = std::thread::spawn(move || match input {
        Some(mut input) => input.write_all(questions.as_bytes()),
        None => Ok(()),
    });
    let output = child.wait_with_output()?;
    // A program that stops reading is judged by the answers that it gave.
    let _closed_early = writer.join();
    Ok(String::from_utf8(output.stdout)?)
}

/// That all answers are right, or what is wrong with the first that is not.
pub fn verdict(vectors: &[Vector], answers: &str) -> Result<String, String> {
    let lines: Vec<_> = answers.lines().map(str::trim).collect();
    if lines.len() != vectors.len() {
        return Err(format!(
            "{} questions, but {} lines of answers: answer each question by one line\n",
            vectors.len(),
            lines.len()
        ));
    }
    let answered: Vec<_> = vectors
        .iter()
        .zip(lines)
        .filter(|(_, line)| !line.is_empty())
        .collect();
    let skipped = vectors.len() - answered.len();
    let mut wrong = Vec::new();
    for &(vector, line) in &answered {
        let fault = vector.answer.fault(line, vector.question.values());
        wrong.extend(fault.map(|fault| (vector, fault)));
    }
    let count = answered.len();
    match wrong.first() {
        None if count == 0 => Err("no question was answered\n".to_owned()),
        None => Ok(format!(
            "all {count} answers are right ({skipped} skipped)\n"
        )),
        Some((vector, fault)) => Err(format!(
            "{} of {count} answers are wrong ({skipped} skipped). The first, \"{}\":\n\
             \x20 asked  {}\n\
             \x20 wrong  {fault}\n\
             \x20 why    {}\n\
             \x20 guess  {}\n",
            wrong.len(),
            vector.name,
            vector.question.line(),
            vector.why,
            guess(&answered, vector),
        )),
    }
}

/// Which known mistakes give these very answers, to all questions of the first fault's kind.
fn guess(answered: &[(&Vector, &str)], first: &Vector) -> String {
    let kind = |vector: &Vector| std::mem::discriminant(&vector.answer);
    let gives_them = |mistake: &&Mistake| {
        let mut same_kind = answered.iter().filter(|(v, _)| kind(v) == kind(first));
        same_kind.all(|(vector, line)| same(&mistake.answer(&vector.question), line))
    };
    let found: Vec<_> = MISTAKES
        .iter()
        .filter(gives_them)
        .map(|mistake| mistake.does)
        .collect();
    match found[..] {
        [] => "more than one thing, or one that we do not know".to_owned(),
        _ => format!("a quantizer that {}", found.join(", or ")),
    }
}

/// Whether two lines have the same numbers, however they are written.
fn same(a: &str, b: &str) -> bool {
    let numbers = |line: &str| -> Vec<Option<f32>> {
        let words = line.split_whitespace();
        words
            .map(|word| {
                word.parse::<f64>()
                    .ok()
                    .filter(|n| !n.is_nan())
                    .map(|n| n as f32)
            })
            .collect()
    };
    numbers(a) == numbers(b)
}
