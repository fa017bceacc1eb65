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

fn with_environment(name: &str, test: &str) -> Output {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--include-ignored"])
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
        let test = "the_best_kernels_are_those_that_were_named_or_the_best";
        let said = String::from_utf8(with_environment(name, test).stderr).unwrap();
        said.matches(&format!("FEWER_BITS_ISA={name} is ignored"))
            .count()
    };
    for isa in Isa::ALL {
        let expected = usize::from(!isa.runs_on(Features::detect()));
        assert_eq!(ignored(isa.name()), expected, "{isa}");
    }
    assert_eq!(ignored("avx-2"), 1);
}

/// Whether Linux has allowed tiles to this process.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn may_use_tiles() -> bool {
    const ARCH_GET_XCOMP_PERM: libc::c_long = 0x1022;
    const XFEATURE_XTILEDATA: u32 = 18;
    let mut allowed = 0u64;
    // SAFETY: the call writes 8 bytes to where `allowed` is, or, if Linux does not know it, nothing.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_GET_XCOMP_PERM, &raw mut allowed) };
    allowed >> XFEATURE_XTILEDATA & 1 == 1
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
#[ignore = "the next test starts it, in a process where nobody has asked for tiles"]
fn the_best_kernels_do_not_ask_for_tiles() {
    let _ = (elementwise::Kernel::best(), Kernel::best());
    assert!(!may_use_tiles());
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn tiles_are_asked_for_only_where_they_are_wanted() {
    let here = |isa: &Isa| isa.runs_on(Features::detect());
    for isa in Isa::ALL
        .into_iter()
        .filter(here)
        .filter(|isa| *isa != Isa::Amx)
    {
        with_environment(isa.name(), "the_best_kernels_do_not_ask_for_tiles");
    }
    assert_eq!(Kernel::new(Isa::Amx).is_some(), may_use_tiles());
}
