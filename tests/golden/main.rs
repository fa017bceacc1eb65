//! The golden vectors are right, by two definitions that share no arithmetic, and the harness that
//! hands them to readers catches what is wrong.
#![allow(clippy::duplicate_mod)] // each program brings its own `golden`

mod exact;

#[path = "../../book/experiments/check_quantizer.rs"]
#[allow(dead_code)]
mod check_quantizer;
#[path = "../../book/experiments/ch04_golden.rs"]
#[allow(dead_code)]
mod generator;

use check_quantizer::golden::mistakes::{MISTAKES, Mistake, RIGHT};
use check_quantizer::golden::verdict::verdict;
use check_quantizer::golden::{Answer, Question, Vector, load, number, path};
use check_quantizer::{ask, questions};
use std::path::PathBuf;
use std::process::Command;

/// The lines with which a quantizer answers.
fn answers(vectors: &[Vector], mistake: &Mistake) -> String {
    let lines = vectors.iter().map(|v| mistake.answer(&v.question) + "\n");
    lines.collect()
}

#[test]
fn the_committed_vectors_are_those_that_their_program_makes() {
    let made = generator::golden::to_json(&generator::vectors().unwrap());
    let committed = std::fs::read_to_string(path()).unwrap();
    assert!(made == committed, "run the example ch04_golden again");
}

#[test]
fn the_crate_answers_as_the_vectors_say() {
    let vectors = load().unwrap();
    assert!(vectors.len() > 400);
    let said = verdict(&vectors, &answers(&vectors, &RIGHT));
    assert_eq!(
        said,
        Ok(format!(
            "all {} answers are right (0 skipped)\n",
            vectors.len()
        ))
    );
}

#[test]
fn integer_arithmetic_answers_as_the_vectors_say() {
    for Vector {
        name,
        question,
        answer,
        ..
    } in load().unwrap()
    {
        let derived = match question {
            Question::Quantize {
                qmin,
                qmax,
                scale,
                zero_point,
                x,
            } => Answer::Codes(
                x.iter()
                    .map(|&x| exact::code(x, scale, zero_point, qmin, qmax))
                    .collect(),
            ),
            Question::Choose { qmin, qmax, x } => {
                let (scale, zero_point) = exact::choose(&x, qmin, qmax);
                Answer::Pair(scale, zero_point)
            }
        };
        assert_eq!(derived, answer, "{name}");
    }
}

#[test]
fn each_kind_of_input_is_among_the_vectors() {
    let vectors = load().unwrap();
    let values: Vec<f32> = vectors
        .iter()
        .flat_map(|v| v.question.values().to_vec())
        .collect();
    assert!(values.iter().any(|x| x.is_subnormal()), "subnormal");
    assert!(
        values.iter().any(|x| *x == 0.0 && x.is_sign_negative()),
        "negative zero"
    );
    assert!(
        values.contains(&f32::MAX) && values.contains(&f32::MIN),
        "extremes"
    );
    for bits in [2, 3, 4, 5, 6, 7, 8, 16] {
        let half = 1 << (bits - 1);
        for ends in [(-half, half - 1), (0, 2 * half - 1), (1 - half, half - 1)] {
            let has = |wanted: fn(&Question) -> Option<(i32, i32)>| {
                vectors.iter().any(|v| wanted(&v.question) == Some(ends))
            };
            assert!(has(|q| match *q {
                Question::Quantize { qmin, qmax, .. } => Some((qmin, qmax)),
                Question::Choose { .. } => None,
            }));
            assert!(has(|q| match *q {
                Question::Choose { qmin, qmax, .. } => Some((qmin, qmax)),
                Question::Quantize { .. } => None,
            }));
        }
    }
}

#[test]
fn each_known_mistake_is_caught_and_named() {
    let vectors = load().unwrap();
    for mistake in &MISTAKES {
        let complaint = verdict(&vectors, &answers(&vectors, mistake)).unwrap_err();
        let guess = complaint.split("guess").nth(1).unwrap_or_default();
        assert!(
            guess.contains(mistake.does),
            "{}: {complaint}",
            mistake.does
        );
        assert!(!guess.contains(", or "), "two mistakes look alike: {guess}");
    }
}

#[test]
fn answers_that_are_not_answers_are_refused() {
    let vectors = &load().unwrap()[..2];
    let complaint = |answers: &str| verdict(vectors, answers).unwrap_err();
    let right = answers(vectors, &RIGHT);
    assert!(complaint("").contains("2 questions, but 0 lines"));
    assert!(complaint("\n\n").contains("no question was answered"));
    assert!(complaint(&right.replacen(' ', " x ", 1)).contains("19 numbers are expected, got 20"));
    let word = right.split(' ').next().unwrap();
    assert!(complaint(&right.replacen(word, "a", 1)).contains("x[0]"));
    let (first, _) = right.split_once('\n').unwrap();
    let said = verdict(vectors, &format!("{first}\n\n"));
    assert_eq!(said, Ok("all 1 answers are right (1 skipped)\n".to_owned()));
}

#[test]
fn a_number_is_written_so_that_f32_and_f64_read_the_same() {
    for x in [
        0.1,
        -0.0,
        1e-45,
        -3.4e38,
        0.295,
        16_777_216.0,
        f32::MIN_POSITIVE,
    ] {
        let text = number(x);
        assert_eq!(
            text.parse::<f32>().unwrap().to_bits(),
            x.to_bits(),
            "{text}"
        );
        assert_eq!(
            (text.parse::<f64>().unwrap() as f32).to_bits(),
            x.to_bits(),
            "{text}"
        );
    }
}

/// The quantizer in C of chapter 4, compiled with `flags`.
fn in_c(name: &str, flags: &[&str]) -> Command {
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/book/experiments/quantizer.c");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let built = Command::new(compiler)
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-O2"])
        .args(flags)
        .arg(source)
        .arg("-o")
        .arg(&program)
        .arg("-lm")
        .status()
        .expect("a C compiler is installed");
    assert!(built.success());
    Command::new(program)
}

#[cfg(unix)]
#[test]
fn a_quantizer_in_another_language_passes() {
    let vectors = load().unwrap();
    let said = ask(&mut in_c("quantizer", &[]), &vectors).unwrap();
    assert_eq!(
        verdict(&vectors, &said),
        Ok(format!(
            "all {} answers are right (0 skipped)\n",
            vectors.len()
        ))
    );
}

#[cfg(unix)]
#[test]
fn a_quantizer_in_another_language_that_rounds_half_away_is_caught() {
    let vectors = load().unwrap();
    let said = ask(
        &mut in_c("quantizer_half_away", &["-DROUND=roundf"]),
        &vectors,
    )
    .unwrap();
    let complaint = verdict(&vectors, &said).unwrap_err();
    for part in [
        "The first, \"half-way, i8\"",
        "x[0] = -2.25 has the code -4, not -5",
        "the even multiple wins",
        "a quantizer that rounds half away from zero\n",
    ] {
        assert!(
            complaint.contains(part),
            "`{complaint}` does not say `{part}`"
        );
    }
}

#[test]
fn a_program_that_answers_nothing_is_told_so() {
    let vectors = load().unwrap();
    let said = ask(Command::new(env!("CARGO")).arg("--version"), &vectors).unwrap();
    let complaint = verdict(&vectors, &said).unwrap_err();
    assert!(complaint.contains("1 lines of answers"), "{complaint}");
}

#[test]
fn questions_are_lines() {
    let vectors = load().unwrap();
    let text = questions(&vectors);
    assert_eq!(text.lines().count(), vectors.len());
    assert!(text.starts_with("quantize -128 127 0.5 0 -2.25 -2 "));
}
