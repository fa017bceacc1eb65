//! What to say about somebody's answers.

use super::Vector;
use super::mistakes::{MISTAKES, Mistake};

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
