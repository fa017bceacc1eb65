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
use golden::verdict::verdict;
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
