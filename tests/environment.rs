//! `FEWER_BITS_ISA`, from the outside: a test starts the other one in a process of its own.

use std::process::{Command, Output};

use fewer_bits::gemm::Kernel;
use fewer_bits::isa::Features;
use fewer_bits::{Isa, elementwise};

/// Alone, it looks at the environment that the tests run in.
#[test]
fn the_best_kernels_are_those_that_were_named_or_the_best() {
    let named = std::env::var("FEWER_BITS_ISA").ok();
    let named = named.and_then(|name| name.parse().ok());
    let named = named.filter(|isa: &Isa| isa.runs_on(Features::detect()));
    let best = named.unwrap_or(Isa::best_for(Features::detect()));
    assert_eq!(Kernel::best().isa(), best);
    if elementwise::Kernel::new(best).is_some() {
        assert_eq!(elementwise::Kernel::best().isa(), best);
    }
}

fn with_environment(name: &str) -> Output {
    let test = "the_best_kernels_are_those_that_were_named_or_the_best";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("FEWER_BITS_ISA", name)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "{name}: {said}");
    output
}

#[test]
fn each_instruction_set_can_be_forced_and_no_name_is_ignored_in_silence() {
    let ignored = |name| {
        let said = String::from_utf8(with_environment(name).stderr).unwrap();
        said.matches(&format!("FEWER_BITS_ISA={name} is ignored"))
            .count()
    };
    for isa in Isa::ALL {
        let expected = usize::from(!isa.runs_on(Features::detect()));
        assert_eq!(ignored(isa.name()), expected, "{isa}");
    }
    assert_eq!(ignored("avx-2"), 1);
}
