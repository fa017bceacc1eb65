//! Every file in `book/evidence/` is what its program makes.
#![allow(clippy::duplicate_mod)] // each experiment is a program and brings its own `support`

/// Runs each named experiment of `book/experiments/` again. A new experiment is named here and, as
/// an `[[example]]`, in `Cargo.toml`.
macro_rules! experiments {
    ($($name:ident: $path:literal),* $(,)?) => {
        $(
            #[path = $path]
            #[allow(dead_code)]
            mod $name;
        )*

        /// One test an experiment, so that a failure names it and cores share the work.
        mod evidence_is_what_its_program_makes {
            $(
                #[test]
                fn $name() {
                    let found = super::$name::support::differences(super::$name::run).unwrap();
                    assert!(found.is_empty(), "run the example again, or mend it: {found:#?}");
                }
            )*
        }

        /// The names of all files that the experiments make.
        fn files_made() -> Vec<String> {
            let mut files = Vec::new();
            $(files.extend($name::support::names($name::run).unwrap());)*
            files
        }
    };
}

experiments! {
    ch01_bytes: "../book/experiments/ch01_bytes.rs",
    ch01_times: "../book/experiments/ch01_times.rs",
    ch02_formats: "../book/experiments/ch02_formats.rs",
    ch02_schemes: "../book/experiments/ch02_schemes.rs",
    ch03_clamped_zero_point: "../book/experiments/ch03_clamped_zero_point.rs",
    ch03_grid: "../book/experiments/ch03_grid.rs",
    ch03_noise: "../book/experiments/ch03_noise.rs",
    ch03_rounding: "../book/experiments/ch03_rounding.rs",
    ch04_digits: "../book/experiments/ch04_digits.rs",
    ch04_edges: "../book/experiments/ch04_edges.rs",
    ch04_five_numbers: "../book/experiments/ch04_five_numbers.rs",
    ch04_golden: "../book/experiments/ch04_golden.rs",
    ch04_times: "../book/experiments/ch04_times.rs",
    ch05_curves: "../book/experiments/ch05_curves.rs",
    ch05_depthwise: "../book/experiments/ch05_depthwise.rs",
    ch05_lecture: "../book/experiments/ch05_lecture.rs",
    ch05_weights: "../book/experiments/ch05_weights.rs",
    ch06_breaks: "../book/experiments/ch06_breaks.rs",
    ch06_by_hand: "../book/experiments/ch06_by_hand.rs",
    ch06_calibration: "../book/experiments/ch06_calibration.rs",
    ch06_requantize: "../book/experiments/ch06_requantize.rs",
    ch06_static: "../book/experiments/ch06_static.rs",
    ch06_times: "../book/experiments/ch06_times.rs",
    ch07_by_hand: "../book/experiments/ch07_by_hand.rs",
    ch07_company: "../book/experiments/ch07_company.rs",
    ch07_shift: "../book/experiments/ch07_shift.rs",
    ch07_times: "../book/experiments/ch07_times.rs",
    ch08_bits: "../book/experiments/ch08_bits.rs",
    ch08_by_hand: "../book/experiments/ch08_by_hand.rs",
    ch08_ranges: "../book/experiments/ch08_ranges.rs",
    ch16_saturation: "../book/experiments/ch16_saturation.rs",
    ch17_ladder: "../book/experiments/ch17_ladder.rs",
    ch18_fused: "../book/experiments/ch18_fused.rs",
    ch18_measure: "../book/experiments/ch18_measure.rs",
    ch18_requantize: "../book/experiments/ch18_requantize.rs",
    ch18_threads: "../book/experiments/ch18_threads.rs",
    scoreboard: "../book/experiments/scoreboard.rs",
}

/// The text of the scripts that ask other tools. They need what `cargo test` does not install, so
/// what they write names the versions and is compared by nobody.
fn scripts() -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/book/experiments");
    let paths = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let scripts = paths.filter(|path| path.extension().is_some_and(|e| e == "py"));
    scripts
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

#[test]
fn no_evidence_is_left_from_a_program_that_is_gone() {
    let (made, scripts) = (files_made(), scripts());
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/book/evidence");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            made.contains(&name) || scripts.contains(&format!("\"{name}\"")),
            "no experiment makes book/evidence/{name}"
        );
    }
}

mod a_broken_sample {
    use super::ch02_schemes::support::{Evidence, Outcome, differences};

    const NAME: &str = "ch02_wrong_axis.md";

    /// What an experiment makes whose committed file becomes this by `change`.
    fn made(change: fn(String) -> String, evidence: &mut Evidence) -> Outcome {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/book/evidence/");
        let committed = std::fs::read_to_string(folder.to_owned() + NAME)?;
        evidence.text(NAME, change(committed));
        Ok(())
    }

    fn problems(run: fn(&mut Evidence) -> Outcome) -> usize {
        differences(run).unwrap().len()
    }

    #[test]
    fn is_told_from_a_good_one() {
        assert_eq!(problems(|e| made(|text| text, e)), 0);
        assert_eq!(
            problems(|e| made(|text| text.replace("44.5", "44.51"), e)),
            0
        );
    }

    #[test]
    fn that_differs_from_the_committed_file_is_noticed() {
        assert_eq!(
            problems(|e| made(|text| text.replace("44.5", "44.6"), e)),
            1
        );
        assert_eq!(problems(|e| made(|text| text.replace("−1.4", "1.4"), e)), 1);
        assert_eq!(problems(|e| made(|text| text.replace("rows", "row"), e)), 1);
        assert_eq!(problems(|e| made(|text| text + "| 1 |\n", e)), 1);
    }

    #[test]
    fn that_nobody_committed_or_made_is_noticed() {
        let not_committed = |e: &mut Evidence| -> Outcome {
            e.text("no such file.md", "1");
            Ok(())
        };
        assert_eq!(problems(not_committed), 1);
        assert_eq!(problems(|_| Ok(())), 1);
    }
}
